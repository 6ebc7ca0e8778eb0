from collections.abc import Callable

from jaxtyping import Float
from mmengine.model import BaseModule
from torch import Tensor

from mmocl.registry import MODELS
from mmocl.structures import Codes, Features


@MODELS.register_module()
class TokenBackbone(BaseModule):
    """Slots look at the tokenizer's tokens, as the decoder embeds them, instead of the image.

    SLATE, `arXiv:2110.11405 <https://arxiv.org/abs/2110.11405>`_. It has nothing to learn of its
    own: the embedding is the decoder's. Deviation: where slots and decoder look at the same
    embedding there, dropout included, each has its own draw of the dropout here.

    Args:
        channels: Width of the decoder's embedding, ``decoder.channels``.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(self, channels: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.out_channels = channels

    def forward(self, codes: Codes, embed: Callable[..., Float[Tensor, 'B M C']]) -> Features:
        """Embed the tokens; the first embedding, of the token in front of all, is left out."""
        return Features(embed(codes.ids, codes.grid)[:, 1:], codes.grid)
