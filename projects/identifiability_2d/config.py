# Constants of the 2-D experiment; the README says where they come from.
data = dict(
    centers=[(0, 0), (10, 10), (-10, -10), (-10, 10), (10, -10)],
    variance=0.5,
    points_per_cluster=(42, 42, 44),
    num_scenes=1000,
    seed=0,
)
# Algorithm 2 of the paper without its query projection: a textbook mixture.
slot_head = dict(
    type='ProbabilisticSlotAttention',
    initializer=dict(type='GaussianSlots', num_slots=3, slot_dim=2),
    in_channels=2,
    num_iters=5,
    projections='none',
    normalize=False,
    variance_space='value',
    logit_scale=1.0,
    min_var=1e-6,
)
optimizer = dict(lr=0.1, weight_decay=1e-6)
num_steps = 15
num_seeds = 15
# EM steps of the slots that are compared: as trained; as the notebook draws q(z); as it trains.
readout_iters = (5, 10, 128)
# The aggregate posterior is that of the first scenes only.
num_posterior_scenes = 50
# A pair of runs counts as affine if the held-out R2 reaches this in both directions.
affine_r2 = 0.9
