import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from mmocl.models.layers.resized_positions import resized_positions


class TokenEmbedding(nn.Module):
    """Embed discrete tokens, with learned positions and a token in front of all (BOS).

    SLATE, `arXiv:2110.11405 <https://arxiv.org/abs/2110.11405>`_, and BO-QSA.

    Args:
        vocab_size: Number of tokens V.
        channels: Width of the embedding.
        grid: Grid (h, w) of the tokens, whose number is the length L of a sequence.
        dropout: Probability to drop an element of the embedding.
    """

    def __init__(
        self, vocab_size: int, channels: int, grid: tuple[int, int], dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.grid = grid
        self.vocab_size = vocab_size
        self.channels = channels
        # Row 0 is BOS.
        self.table = nn.Embedding(vocab_size + 1, channels)
        self.position = nn.Parameter(torch.empty(1, 1 + grid[0] * grid[1], channels))
        nn.init.trunc_normal_(self.position)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, ids: Int64[Tensor, 'B L'], grid: tuple[int, int] | None = None
    ) -> Float[Tensor, 'B M d']:
        """Embed BOS and the tokens, M = 1 + L; positions are resized to another ``grid``.

        Raises:
            ValueError: If it is another one in training.
        """
        position: Tensor = self.position
        if grid is not None and grid != self.grid:
            if self.training:
                raise ValueError(
                    f'Tokens on a grid of {grid} were given, but their positions are learned for '
                    f'{self.grid}; set model.decoder.grid to the image size of the dataset divided '
                    'by the stride of model.tokenizer.'
                )
            places = resized_positions(position[:, 1:], self.grid, grid)
            position = torch.cat([position[:, :1], places], dim=1)
        ids = nn.functional.pad(ids + 1, (1, 0))
        return self.dropout(self.table(ids) + position)

    def start(self, batch_size: int) -> Float[Tensor, 'B 1 d']:
        """Embed BOS alone."""
        return (self.table.weight[:1] + self.position[:, :1]).expand(batch_size, -1, -1)

    def embed_next(self, ids: Int64[Tensor, 'B 1'], place: int) -> Float[Tensor, 'B 1 d']:
        """Embed the token at a place, counted from 0 without BOS."""
        return self.table(ids + 1) + self.position[:, place + 1 : place + 2]
