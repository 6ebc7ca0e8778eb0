import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn


class PatchEmbedding(nn.Module):
    """Embed features of patches, with a learned vector in front of all (BOS).

    DINOSAUR, `arXiv:2209.14860 <https://arxiv.org/abs/2209.14860>`_: no positions, as features of a
    ViT carry them.

    Args:
        in_channels: Channels of the features.
        channels: Width of the embedding.
        num_orders: Number of orders of the patches; each has a vector in front of its own.
    """

    def __init__(self, in_channels: int, channels: int, num_orders: int = 1) -> None:
        super().__init__()
        self.bos = nn.Parameter(torch.randn(num_orders, 1, in_channels) * in_channels**-0.5)
        self.project = nn.Linear(in_channels, channels, bias=False)
        self.norm = nn.LayerNorm(channels)

    def forward(
        self,
        patches: Float[Tensor, 'B P F'],
        order: Int64[Tensor, ' 1'] | None = None,
        grid: tuple[int, int] | None = None,
    ) -> Float[Tensor, 'B M d']:
        """Embed the vector in front of an order (its index; None: the first) and the patches.

        Their grid does not matter.
        """
        bos = self.bos[:1] if order is None else self.bos.index_select(0, order)
        return self.norm(
            self.project(torch.cat([bos.expand(patches.shape[0], -1, -1), patches], dim=1))
        )

    def start(self, batch_size: int) -> Float[Tensor, 'B 1 d']:
        """Embed the vector in front of the first order."""
        return self.norm(self.project(self.bos[:1].expand(batch_size, -1, -1)))

    def embed_next(self, patch: Float[Tensor, 'B 1 F'], place: int) -> Float[Tensor, 'B 1 d']:
        """Embed one patch; where it is does not matter."""
        return self.norm(self.project(patch))
