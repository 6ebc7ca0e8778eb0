from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """Multi-head self-attention with separate projections, without bias but for the last.

    Args:
        dim: Width D of the tokens.
        num_heads: Number of heads; they divide D.
        dropout: Of the output.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_query = nn.Linear(dim, dim, bias=False)
        self.to_key = nn.Linear(dim, dim, bias=False)
        self.to_value = nn.Linear(dim, dim, bias=False)
        self.to_output = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, 'B N D']) -> Float[Tensor, 'B N D']:
        """Let every token look at all tokens."""
        query, key, value = (
            layer(tokens).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for layer in (self.to_query, self.to_key, self.to_value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.dropout(self.to_output(mixed.transpose(1, 2).flatten(2)))
