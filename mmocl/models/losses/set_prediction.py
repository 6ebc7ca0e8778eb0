import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional

from mmocl.models.layers import at_least_float32
from mmocl.registry import MODELS
from mmocl.structures import ModelOutput


@MODELS.register_module()
class SetPredictionLoss(nn.Module):
    """Compares a predicted set with the true one, each prediction with the object it fits best.

    Slot Attention, `arXiv:2006.15055 <https://arxiv.org/abs/2006.15055>`_, and SMM,
    `arXiv:2311.04640 <https://arxiv.org/abs/2311.04640>`_: the smooth L1 distance (Huber's, beta 1)
    of two vectors is averaged over all their numbers, the cheapest one-to-one assignment is found
    by the Hungarian method on that distance, its costs are summed over the set, and these sums are
    averaged over images. Rows of zeros pad the true sets, so that a prediction too many learns to
    be one.

    The assignment runs on the host: one copy of (B, K, K) costs from the device a batch, which
    waits for it.

    Args:
        weight: Weight of the loss in the sum.
    """

    name = 'set'
    target_shapes = ('set',)

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, output: ModelOutput) -> Float[Tensor, '']:
        """Return the weighted loss, in float32 at least.

        Raises:
            ValueError: If predictions or targets are not finite.
        """
        cost = pairwise_smooth_l1(output.decoded.recon, output.target.values)
        index = assign(cost)
        return self.weight * cost.gather(2, index[:, :, None]).sum() / len(cost)


def pairwise_smooth_l1(
    predictions: Float[Tensor, 'B K P'], targets: Float[Tensor, 'B M P']
) -> Float[Tensor, 'B M K']:
    """Return the smooth L1 distance (beta 1) of every target to every prediction, over P a mean."""
    pairs = torch.broadcast_tensors(
        at_least_float32(predictions)[:, None], at_least_float32(targets)[:, :, None]
    )
    return functional.smooth_l1_loss(pairs[0], pairs[1], reduction='none', beta=1.0).mean(dim=3)


def assign(cost: Float[Tensor, 'B K K']) -> Int64[Tensor, 'B K']:
    """Return the column of every row in the cheapest one-to-one assignment of an image.

    Raises:
        ValueError: If a cost is not finite.
    """
    # The one copy to the host.
    costs = cost.detach().cpu().numpy()
    if not np.isfinite(costs).all():
        raise ValueError(
            'Costs of the assignment are NaN or infinite; expected finite predictions and targets. '
            'Check weights, inputs and precision.'
        )
    # Rows come back in order.
    columns = np.stack([linear_sum_assignment(image)[1] for image in costs]).astype(np.int64)
    return torch.from_numpy(columns).to(cost.device)
