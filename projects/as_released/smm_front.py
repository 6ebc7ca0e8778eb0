import torch
from jaxtyping import Float
from torch import Tensor, nn

from projects.as_released.residual import Residual
from projects.as_released.self_attention import SelfAttention


class SMMFront(nn.Module):
    """Transformer in front of the mixture in the released code of SMM, `arXiv:2311.04640`_.

    Two learned tokens are put before the N tokens of an image. After a layer norm come blocks of
    three pre-norm residual layers: self-attention, self-attention once more, and a GELU MLP of
    width 4D. There is no norm at the end.

    Args:
        dim: Width D of the tokens.
        num_blocks: Number of blocks.
        num_heads: Attention heads; they divide D.
        dropout: Of attention outputs, and of the MLP's hidden layer.

    .. _arXiv:2311.04640: https://arxiv.org/abs/2311.04640
    """

    def __init__(
        self, dim: int, num_blocks: int = 2, num_heads: int = 4, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.randn(1, 1, dim))
        self.log_scale = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, 1, dim)))
        self.norm = nn.LayerNorm(dim)
        layers: list[nn.Module] = []
        for _ in range(num_blocks):
            layers += [
                Residual(nn.LayerNorm(dim), SelfAttention(dim, num_heads, dropout)),
                Residual(nn.LayerNorm(dim), SelfAttention(dim, num_heads, dropout)),
                Residual(
                    nn.LayerNorm(dim),
                    nn.Linear(dim, 4 * dim),
                    nn.GELU(),
                    nn.Dropout(dropout),
                    nn.Linear(4 * dim, dim),
                ),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, tokens: Float[Tensor, 'B N D']) -> Float[Tensor, 'B M D']:
        """Return N + 2 tokens, those of the two learned ones first."""
        learned = torch.cat([self.mean, self.log_scale], dim=1).expand(len(tokens), -1, -1)
        return self.layers(self.norm(torch.cat([learned, tokens], dim=1)))
