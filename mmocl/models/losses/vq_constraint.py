from jaxtyping import Float
from torch import Tensor, nn

from mmocl.registry import MODELS
from mmocl.structures import ModelOutput


@MODELS.register_module()
class VQConstraintLoss(nn.Module):
    """Pulls the initial slots to the final ones, as VQ-VAE does with its codes.

    ``|| sg(final) - initial ||^2`` of appendix B.3 of BO-QSA, `arXiv:2210.08990
    <https://arxiv.org/abs/2210.08990>`_, where it makes results worse; most weights but small ones
    spoil reconstructions. This is from the paper only, no code was released; the reduction (squared
    norm over the width, mean over images and slots) is a guess. Inactive slots are left out.

    The final slots get no gradient, the means that the initializer gives do, noise included; for
    ``gradient='implicit'`` and ``BufferSlots`` it is a constant. It means something where initial
    and final slots share a space, as in ``SlotAttention``.

    Args:
        weight: Weight of the loss in the sum.
        name: Name of the loss in the log.
    """

    def __init__(self, weight: float = 0.01, name: str = 'vq_constraint') -> None:
        super().__init__()
        self.weight = weight
        self.name = name

    def forward(self, output: ModelOutput) -> Float[Tensor, '']:
        """Return the weighted loss."""
        slots = output.slots
        distance = (slots.slots.detach() - slots.init.mean).square().sum(dim=2)
        if slots.active is None:
            return self.weight * distance.mean()
        return self.weight * (distance * slots.active).sum() / slots.active.sum()
