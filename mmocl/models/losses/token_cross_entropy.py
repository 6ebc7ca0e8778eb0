from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mmocl.registry import MODELS
from mmocl.structures import ModelOutput


@MODELS.register_module()
class TokenCrossEntropyLoss(nn.Module):
    """Cross-entropy of predicted tokens in nats, summed over an image, averaged over images.

    SLATE, `arXiv:2110.11405 <https://arxiv.org/abs/2110.11405>`_. For ``TokenTarget``.

    Args:
        weight: Weight of the loss in the sum.
    """

    name = 'cross_entropy'
    target_shapes = ('ids',)

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, output: ModelOutput) -> Float[Tensor, '']:
        """Return the weighted loss."""
        logits, ids = output.decoded.recon, output.target.values
        total = functional.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction='sum')
        return self.weight * total / len(ids)
