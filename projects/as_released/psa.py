import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmocl.models.initializers import SlotInitializer
from mmocl.models.layers import at_least_float32, diagonal_log_density, weighted_variance
from mmocl.models.slot_heads import SlotHead
from mmocl.models.slot_heads.mixture import as_mixture
from mmocl.models.slot_heads.slot_update import SlotUpdate
from mmocl.registry import MODELS
from mmocl.structures import SlotInputs, SlotState


@MODELS.register_module()
class ReleasedPSA(SlotHead):
    """Probabilistic Slot Attention, `arXiv:2406.07141`_, as its released code has it.

    Reproduces koriavinash1/PSA at 08edc10, whose figures the paper reports. Deviations from the
    paper (``README.md`` of this folder has them side by side):

    - ``variant='fixed'`` ("PSA" in the paper's tables) has no projection at all. Its MAP variance
      is taken around the previous means, ``(S0 + sum_n a_nk (z_n - mu_old)^2) / (N_k + 2D + 4)``
      with ``S0 = (unbiased token variance + 1e-8) / K^(1/D)``.
    - ``variant='dynamic'`` ("PSA-PROJ") puts a layer norm before, and a GRU and a residual MLP
      behind the EM step. The GRU's hidden state is the *layer-normed* previous slot, the MLP ends
      with a ReLU and so never lowers a slot. Variances are those of the keys around the projected
      mean before the GRU, so means and variances of ``state`` live in different spaces.
    - ``dynamic`` with ``variance='map'`` sends the prior variance ``S0`` through the query
      projection, weights and bias. It can come out negative, and the square root of a slot that
      holds few tokens is then NaN, as are the slots from the next step on. **Nothing is raised**,
      as in the release, whose own runs of this variant are ``'mle'``.
    - 1e-8 is added to every responsibility and every standard deviation. The release also clamps
      weights and deviations at 1e-8, which they cannot fall below.

    Deviations from the release: ``state`` holds log-variances and log-weights; the attention that
    is returned is without the 1e-8; the value projection is applied to the K weighted means of
    the tokens, not to N tokens, which is the same; masks are refused.

    Args:
        initializer: See :class:`SlotHead`; ``ReleasedPSASlots`` in the release.
        in_channels: Channels of the tokens; the release keeps one width D all through.
        slot_dim: Slot width D; that of the tokens if not given.
        num_iters: Number of EM steps T.
        gradient: See :class:`SlotHead`.
        num_tokens: Number of tokens N of every image, for the module in front of the EM steps: a
            layer norm over (N, D) jointly, Linear-ReLU-Linear-ReLU, a layer norm over D. None
            leaves the tokens as they are.
        variant: ``'fixed'`` or ``'dynamic'``.
        variance: ``'mle'`` or ``'map'``.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: If an option is unknown, slots are not as wide as tokens, or a mask is given.

    .. _arXiv:2406.07141: https://arxiv.org/abs/2406.07141
    """

    EPS = 1e-8

    def __init__(
        self,
        initializer: dict | SlotInitializer,
        in_channels: int,
        slot_dim: int | None = None,
        num_iters: int = 5,
        gradient: str = 'unrolled',
        num_tokens: int | None = None,
        variant: str = 'fixed',
        variance: str = 'map',
        init_cfg: dict | None = None,
    ) -> None:
        if slot_dim not in (None, in_channels):
            raise ValueError(
                f'slot_dim must be the width of the tokens {in_channels}, got {slot_dim}.'
            )
        super().__init__(initializer, in_channels, slot_dim, num_iters, gradient, init_cfg=init_cfg)
        for name, value, known in (
            ('variant', variant, ('fixed', 'dynamic')),
            ('variance', variance, ('mle', 'map')),
        ):
            if value not in known:
                raise ValueError(f'{name} must be one of {known}, got {value!r}.')
        dim = self.slot_dim
        self.variance = variance
        self.has_slot_posterior = variant == 'fixed'
        if num_tokens is not None:
            self.embed = nn.Sequential(
                nn.LayerNorm((num_tokens, dim)),
                nn.Linear(dim, dim),
                nn.ReLU(inplace=True),
                nn.Linear(dim, dim),
                nn.ReLU(inplace=True),
                nn.LayerNorm(dim),
            )
        self.update: SlotUpdate | None = None
        self.norm_slots: nn.Module = nn.Identity()
        self.to_query: nn.Module = nn.Identity()
        self.to_key: nn.Module = nn.Identity()
        self.to_value: nn.Module = nn.Identity()
        if variant == 'dynamic':
            self.norm_slots = nn.LayerNorm(dim)
            self.to_query = nn.Linear(dim, dim)
            self.to_key = nn.Linear(dim, dim)
            self.to_value = nn.Linear(dim, dim)
            self.update = SlotUpdate(dim, dim)
            self.update.mlp.append(nn.ReLU(inplace=True))

    def project(
        self, tokens: Float[Tensor, 'B N D']
    ) -> tuple[Float[Tensor, 'B N D'], Float[Tensor, 'B N D']]:
        """Return keys, and the tokens themselves: the prior variance is made of them."""
        return self.to_key(tokens), tokens

    def complete(self, state: SlotState) -> SlotState:
        """Add equal weights, and unit variances if the initializer gave none."""
        return as_mixture(state, 0.0)

    def prior_variance(
        self, tokens: Float[Tensor, 'B N D'], num_slots: int
    ) -> Float[Tensor, 'B 1 D']:
        """Return S0 of the MAP variance, before any projection."""
        spread = tokens.var(dim=1, keepdim=True) + self.EPS
        return spread / num_slots ** (1 / tokens.shape[2])

    def step(
        self, state: SlotState, inputs: SlotInputs
    ) -> tuple[SlotState, Float[Tensor, 'B K N']]:
        """One E-step and one M-step, then GRU and MLP in the dynamic variant."""
        assert state.log_var is not None
        assert state.log_weight is not None
        if inputs.token_mask is not None or inputs.slot_mask is not None:
            raise ValueError('The released code of PSA knows no masks of tokens or slots.')
        with torch.autocast(inputs.keys.device.type, enabled=False):
            keys, tokens = at_least_float32(inputs.keys), at_least_float32(inputs.values)
            previous = self.norm_slots(state.mean)
            query = self.to_query(previous)
            log_density = diagonal_log_density(keys, query, state.log_var)
            attn = (log_density + state.log_weight[:, :, None]).softmax(dim=1)
            weights = attn + self.EPS
            count = weights.sum(dim=2, keepdim=True)
            weights = weights / count
            mean = self.to_value(weights @ tokens)
            if self.variance == 'mle':
                variance = weighted_variance(keys, weights, self.to_query(mean))
            else:
                num_slots, dim = mean.shape[1:]
                prior = self.to_query(self.prior_variance(tokens, num_slots))
                scatter = count * weighted_variance(keys, weights, query)
                variance = (prior + scatter) / (count + 2 * dim + 4)
            log_var = 2 * (variance.sqrt() + self.EPS).log()
            if self.update is not None:
                mean = self.update(mean, previous)
            log_weight = (count[:, :, 0] / tokens.shape[1]).log()
            return SlotState(mean, log_var, log_weight), attn
