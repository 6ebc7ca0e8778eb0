from jaxtyping import Float
from torch import Tensor, nn


class Residual(nn.Sequential):
    """Layers whose output is added to their input."""

    def forward(self, tokens: Float[Tensor, 'B N D']) -> Float[Tensor, 'B N D']:
        """Return the sum."""
        return tokens + super().forward(tokens)
