import torch
from jaxtyping import Float
from torch import Tensor, nn


class SoftPositionEmbedding(nn.Module):
    """Add a linear map of the coordinates (y, x, 1-y, 1-x) to a feature map.

    Slot Attention, `arXiv:2006.15055 <https://arxiv.org/abs/2006.15055>`_, appendix E.2. The grid
    is made for the size at hand, corners at 0 and 1, so any size works.

    Args:
        channels: Channels of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(4, channels)

    def forward(self, maps: Float[Tensor, 'B C h w']) -> Float[Tensor, 'B C h w']:
        """Return the map with positions added."""
        return maps + self.at((maps.shape[2], maps.shape[3]))

    def at(self, size: tuple[int, int]) -> Float[Tensor, 'C h w']:
        """Return the positions of a map of this height and width."""
        weight = self.project.weight
        y, x = (torch.linspace(0, 1, n, device=weight.device).to(weight) for n in size)
        grid = torch.stack(torch.meshgrid(y, x, indexing='ij'), dim=-1)
        return self.project(torch.cat([grid, 1 - grid], dim=-1)).permute(2, 0, 1)
