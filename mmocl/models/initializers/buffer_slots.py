import warnings

import numpy as np
import torch
from jaxtyping import Bool, Float
from mmengine import dist
from scipy.cluster.vq import kmeans2
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from mmocl.models.initializers.base import SlotInitializer
from mmocl.models.layers import require
from mmocl.registry import MODELS
from mmocl.structures import Features, SlotState

# Lloyd iterations; SciPy does all of them.
_NUM_ITERS = 20


@MODELS.register_module()
class BufferSlots(SlotInitializer):
    """Slots start from a buffer that follows the final slots without a gradient.

    The counterparts of learned queries in appendix B.3 of BO-QSA, `arXiv:2210.08990
    <https://arxiv.org/abs/2210.08990>`_ (RunningMean and KMeans; there they are harmful). After
    every training batch ``c <- momentum u + (1 - momentum) c`` with ``u`` from the final slots of
    all processes. There is no parameter and no noise.

    Deviations from the released code: it does not align centres (``align=False`` does as it does)
    nor share slots between processes, and its k-means is scikit-learn's; here it is SciPy's, one
    run of 20 iterations from k-means++ on the CPU. The paper does not say what its matching
    minimises; here it is the sum of squared distances.

    Args:
        num_slots: Number of slots K.
        slot_dim: Slot width D.
        update: What ``u`` is: ``'mean'``, the mean over the images, slot by slot; ``'kmeans'``, K
            centres of the slots of all images.
        momentum: Share of ``u``, in (0, 1]. The code's 0.1 is for the variants '-M', which the
            paper gives no value for; 1 is for those without.
        align: Match the centres of k-means to the rows of the buffer (Hungarian algorithm).
        seed: Of k-means, the same in every step.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: If ``update`` is unknown or ``momentum`` out of range.
    """

    slots: Tensor

    def __init__(
        self,
        num_slots: int,
        slot_dim: int,
        update: str = 'mean',
        momentum: float = 0.1,
        align: bool = True,
        seed: int = 0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(num_slots, slot_dim, init_cfg)
        if update not in ('mean', 'kmeans'):
            raise ValueError(f"update must be 'mean' or 'kmeans', got {update!r}.")
        if not 0 < momentum <= 1:
            raise ValueError(f'momentum must be in (0, 1], got {momentum}.')
        self.update = update
        self.momentum = momentum
        self.align = align
        self.seed = seed
        start = nn.init.xavier_normal_(torch.empty(num_slots, slot_dim))
        self.register_buffer('slots', start[None])

    def forward(
        self,
        features: Features,
        num_slots: int | None = None,
        noise: Float[Tensor, '...'] | None = None,
    ) -> SlotState:
        """Return the buffer for every image of the batch.

        Raises:
            ValueError: If ``num_slots`` is not that of the buffer, or there is noise to use.
        """
        self.count(num_slots, fixed=True)
        if noise is not None:
            raise ValueError('BufferSlots draws nothing, so it cannot use the given noise.')
        # A copy: the backward pass may need the values after observe() has changed the buffer.
        return SlotState(self.slots.repeat(features.tokens.shape[0], 1, 1))

    @torch.no_grad()
    def observe(
        self, mean: Float[Tensor, 'B K D'], active: Bool[Tensor, 'B K'] | None = None
    ) -> None:
        """Move the buffer towards the slots of a batch, the same way on every process.

        Slots that took no part are left out; a row of the buffer that no image used stays.

        Raises:
            ValueError: If slots are NaN or infinite, on all processes alike.
        """
        mean = mean.to(self.slots.dtype)
        if active is None:
            active = torch.ones(mean.shape[:2], dtype=torch.bool, device=mean.device)
        new = self._mean(mean, active) if self.update == 'mean' else self._centres(mean[active])
        self.slots.lerp_(new[None], self.momentum)

    def _mean(
        self, slots: Float[Tensor, 'B K D'], active: Bool[Tensor, 'B K']
    ) -> Float[Tensor, 'K D']:
        # Sum and count: batches of processes may differ in size.
        total = slots.masked_fill(~active[:, :, None], 0).sum(dim=0)
        count = active.sum(dim=0).to(total.dtype)[:, None]
        dist.all_reduce(total)
        dist.all_reduce(count)
        _require_finite(total)
        return torch.where(count > 0, total / count.clamp_min(1), self.slots[0])

    def _centres(self, slots: Float[Tensor, 'n D']) -> Float[Tensor, 'K D']:
        points = torch.cat(dist.all_gather_object(slots.cpu())).double()
        _require_finite(points)
        centres = find_centres(points.numpy(), self.num_slots, self.seed)
        if self.align:
            centres = match(centres, self.slots[0].cpu().double().numpy())
        new = torch.from_numpy(centres).to(self.slots)
        # Rounding of another CPU may tip k-means over.
        dist.broadcast(new)
        return new


def find_centres(
    points: Float[np.ndarray, 'n D'], num_clusters: int, seed: int
) -> Float[np.ndarray, 'K D']:
    """Cluster points by k-means; a cluster that loses its points stays where it was."""
    with warnings.catch_warnings(), np.errstate(invalid='ignore'):
        # Fewer different points than clusters: k-means++ divides 0 by 0 and takes a point again.
        warnings.filterwarnings('ignore', 'One of the clusters is empty', UserWarning)
        # SciPy before 1.15 does not know the keyword's new name, rng.
        random = np.random.default_rng(seed)
        return kmeans2(points, num_clusters, iter=_NUM_ITERS, minit='++', seed=random)[0]


def match(
    centres: Float[np.ndarray, 'K D'], targets: Float[np.ndarray, 'K D']
) -> Float[np.ndarray, 'K D']:
    """Reorder centres so that the sum of squared distances to the targets is least."""
    cost = np.square(targets[:, None] - centres[None]).sum(axis=2)
    return centres[linear_sum_assignment(cost)[1]]


def _require_finite(slots: Tensor) -> None:
    require(
        slots.isfinite().all(),
        'BufferSlots got final slots with NaN or infinite values, which would stay in its buffer. '
        'Check learning rate and precision.',
    )
