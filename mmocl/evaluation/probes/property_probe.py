from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmocl.evaluation.probes.property_target import PropertyTarget


class PropertyProbe(nn.Module):
    """Predicts all properties of an object from one slot, with the same weights for every slot.

    Dittadi et al., `arXiv:2107.00637 <https://arxiv.org/abs/2107.00637>`_: a linear layer, or an
    MLP with one hidden layer and LeakyReLU.

    Args:
        targets: What is predicted, each its ``size`` of numbers, in this order.
        mean: Subtracted from slots (D,).
        std: Slots are then divided by this (D,).
        hidden_channels: Width of the hidden layer; 0 makes the probe linear.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        targets: Sequence[PropertyTarget],
        mean: Float[Tensor, ' D'],
        std: Float[Tensor, ' D'],
        hidden_channels: int = 0,
    ) -> None:
        super().__init__()
        self.sizes = [target.size for target in targets]
        self.register_buffer('mean', mean)
        self.register_buffer('std', std)
        if hidden_channels:
            self.net = nn.Sequential(
                nn.Linear(len(mean), hidden_channels),
                nn.LeakyReLU(),
                nn.Linear(hidden_channels, sum(self.sizes)),
            )
        else:
            self.net = nn.Sequential(nn.Linear(len(mean), sum(self.sizes)))

    def forward(self, slots: Float[Tensor, '*N D']) -> list[Float[Tensor, '...']]:
        """Predict.

        Returns:
            Numbers or logits ``(*N, size)`` of every target.
        """
        outputs = self.net((slots - self.mean) / self.std)
        return list(torch.split(outputs, self.sizes, dim=-1))
