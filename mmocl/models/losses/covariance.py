import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mmocl.models.layers import at_least_float32, gather_slots
from mmocl.registry import MODELS
from mmocl.structures import ModelOutput


@MODELS.register_module()
class CovarianceLoss(nn.Module):
    """Decorrelates the features of the slots, which narrows the bottleneck: COVLOSS.

    Stange et al., "Exploring the Role of the Bottleneck in Slot-Based Models Through Covariance
    Regularization", with the terms of VICReg, `arXiv:2105.04906
    <https://arxiv.org/abs/2105.04906>`_. All slots of a batch, (B, K, D), are projected to P
    features, and ``cov`` is the unbiased covariance of these over the B*K slots::

        weight * (cov_weight * sum_{i != j} cov_ij^2 / divisor
                  + std_weight * mean_j relu(gamma - sqrt(cov_jj + 1e-4)))

    The projection head belongs to the loss: it is trained, and stands in a checkpoint, but nothing
    else runs it. Inactive slots are left out. With several processes each takes its own part of the
    batch. Warm up by :class:`AttributeAnnealingHook` on ``'losses.<index>.weight'``.

    The paper and the code of its authors differ:

    - The paper divides by P; their runs of Slot Attention divide by P^2 (``divisor='square'``,
      the default here), those of DINOSAUR by P (``'linear'``).
    - The paper's DINOSAUR with COVLOSS is the covariance of a projection; their run takes the slots
      as they are, and the variance term too: ``head_channels=None``, ``std_weight=1``,
      ``gamma=1``, ``divisor='linear'``. All other runs are without the variance term.
    - The paper has one weight, beta, for both terms; their code has the three that are here, all
      1 in their runs but the variance's.
    - Their code has a linear warm-up of the covariance term, which no run uses.

    Here, unlike there, batch norm keeps no running statistics, as nothing would read them; and the
    K x K covariance of slots over features, which their code can penalise instead but no run does,
    is left out.

    Args:
        slot_dim: Slot width D.
        weight: Weight of the loss in the sum.
        cov_weight: Weight of the covariance term.
        std_weight: Weight of the variance term; 0 turns it off.
        gamma: Standard deviation that the variance term asks of every feature.
        head_channels: Width P of the three layers of the projection head; None has no head.
        head_norm: Norm behind the first two layers: ``'layer'``, as in all runs of the authors, or
            ``'batch'``, theirs otherwise. That one normalises every slot place over images and
            features, so it needs ``num_slots`` and cannot leave slots out.
        num_slots: Number of slots K, for batch norm.
        divisor: ``'square'`` divides the sum of squares by P^2, ``'linear'`` by P.

    Raises:
        ValueError: If a weight or ``gamma`` is negative, ``head_norm`` or ``divisor`` is unknown,
            ``head_channels`` is less than 1, or batch norm lacks ``num_slots``.
    """

    name = 'covariance'
    EPS = 1e-4

    def __init__(
        self,
        slot_dim: int,
        weight: float = 1.0,
        cov_weight: float = 1.0,
        std_weight: float = 0.0,
        gamma: float = 1.0,
        head_channels: int | None = 1024,
        head_norm: str = 'layer',
        num_slots: int | None = None,
        divisor: str = 'square',
    ) -> None:
        super().__init__()
        for key, value in {
            'weight': weight,
            'cov_weight': cov_weight,
            'std_weight': std_weight,
            'gamma': gamma,
        }.items():
            if not value >= 0:
                raise ValueError(f'{key} of CovarianceLoss must not be negative, got {value}.')
        if divisor not in ('square', 'linear'):
            raise ValueError(f"divisor must be 'square' or 'linear', got {divisor!r}.")
        if head_norm not in ('layer', 'batch'):
            raise ValueError(f"head_norm must be 'layer' or 'batch', got {head_norm!r}.")
        self.weight = weight
        self.cov_weight = cov_weight
        self.std_weight = std_weight
        self.gamma = gamma
        self.divisor = divisor
        self.batch_norm_slots = None
        self.head: nn.Module = nn.Identity()
        if head_channels is None:
            return
        if head_channels < 1:
            raise ValueError(f'head_channels must be at least 1 or None, got {head_channels}.')
        if head_norm == 'batch':
            if num_slots is None:
                raise ValueError("head_norm='batch' has a statistic a slot: it needs num_slots.")
            self.batch_norm_slots = num_slots
        layers: list[nn.Module] = [nn.Linear(slot_dim, head_channels)]
        for _ in range(2):
            if self.batch_norm_slots is None:
                norm: nn.Module = nn.LayerNorm(head_channels)
            else:
                norm = nn.BatchNorm1d(self.batch_norm_slots, track_running_stats=False)
            layers += [norm, nn.ReLU(inplace=True), nn.Linear(head_channels, head_channels)]
        self.head = nn.Sequential(*layers)

    def forward(self, output: ModelOutput) -> Float[Tensor, '']:
        """Return the weighted loss, in float32 at least.

        Raises:
            ValueError: If the batch has fewer than two slots, or batch norm another number of slots
                than ``num_slots`` or inactive ones.
        """
        slots, active = output.slots.slots, output.slots.active
        if self.batch_norm_slots is None:
            rows = self.head(gather_slots(slots, active)[0])
        else:
            if slots.shape[1] != self.batch_norm_slots:
                raise ValueError(
                    f'Batch norm of CovarianceLoss was made for num_slots={self.batch_norm_slots}, '
                    f'but there are {slots.shape[1]}.'
                )
            if active is not None:
                raise ValueError("head_norm='batch' cannot leave inactive slots out; take 'layer'.")
            rows = self.head(slots).flatten(0, 1)
        if len(rows) < 2:
            raise ValueError('A covariance needs at least two slots in the batch, got one.')
        cov = covariance(rows)
        width = cov.shape[-1]
        divisor = width * width if self.divisor == 'square' else width
        cov_term = off_diagonal_energy(cov) / divisor
        std_term = functional.relu(self.gamma - standard_deviation(cov, self.EPS)).mean()
        return self.weight * (self.cov_weight * cov_term + self.std_weight * std_term)


def covariance(rows: Float[Tensor, '*batch N P']) -> Float[Tensor, '*batch P P']:
    """Return the unbiased covariance of P features over N rows, in float32 at least."""
    # Autocast would cast the product back to half.
    with torch.autocast(rows.device.type, enabled=False):
        rows = at_least_float32(rows)
        rows = rows - rows.mean(dim=-2, keepdim=True)
        return rows.mT @ rows / (rows.shape[-2] - 1)


def off_diagonal_energy(cov: Float[Tensor, '*batch P P']) -> Float[Tensor, '*batch']:
    """Return the sum of squares of all entries off the diagonal."""
    diagonal = torch.eye(cov.shape[-1], dtype=torch.bool, device=cov.device)
    return cov.masked_fill(diagonal, 0).square().sum(dim=(-2, -1))


def standard_deviation(cov: Float[Tensor, '*batch P P'], eps: float) -> Float[Tensor, '*batch P']:
    """Return the standard deviations of a covariance, whose gradient ``eps`` keeps finite."""
    return (cov.diagonal(dim1=-2, dim2=-1) + eps).sqrt()
