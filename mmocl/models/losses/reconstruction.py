from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mmocl.registry import MODELS
from mmocl.structures import ModelOutput


@MODELS.register_module()
class ReconstructionLoss(nn.Module):
    """Mean squared error between reconstruction and target, averaged over all elements.

    Of tokens those that exist count (``Features.mask``), so that padding is not reconstructed.

    Args:
        weight: Weight of the loss in the sum.
    """

    name = 'reconstruction'
    target_shapes = ('image', 'tokens')

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, output: ModelOutput) -> Float[Tensor, '']:
        """Return the weighted loss."""
        recon, values, mask = output.decoded.recon, output.target.values, output.features.mask
        if mask is None or recon.ndim != 3:
            return self.weight * functional.mse_loss(recon, values)
        errors = functional.mse_loss(recon, values, reduction='none').mean(dim=2)
        return self.weight * (errors * mask).sum() / mask.sum()
