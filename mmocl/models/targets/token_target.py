from jaxtyping import Float
from mmengine.model import BaseModule
from torch import Tensor

from mmocl.models.targets.base import ReconstructionTarget
from mmocl.registry import MODELS
from mmocl.structures import Codes, Decoded, Features, Target


@MODELS.register_module()
class TokenTarget(ReconstructionTarget):
    """Predict the discrete tokens of the model's tokenizer, which brings its own loss.

    SLATE, `arXiv:2110.11405 <https://arxiv.org/abs/2110.11405>`_.

    Args:
        vocab_size: Number of tokens V; that of the tokenizer if not given.
        init_cfg: MMEngine's initialisation config.
    """

    shape = 'ids'
    needs_codes = True

    def __init__(self, vocab_size: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.vocab_size = vocab_size

    def out_channels(self, in_channels: int) -> int:
        """One logit a token."""
        return self.vocab_size

    def forward(
        self,
        images: Float[Tensor, 'B 3 H W'] | None,
        features: Features,
        codes: Codes | None = None,
    ) -> Target:
        """Return the token ids (B, N)."""
        assert codes is not None
        return Target(codes.ids, codes.losses, codes.grid)

    def to_images(
        self, decoded: Decoded, tokenizer: BaseModule | None = None
    ) -> Float[Tensor, 'B 3 H W']:
        """Let the tokenizer decode the likeliest tokens."""
        assert tokenizer is not None
        assert decoded.masks is not None
        ids = decoded.recon.argmax(dim=2)
        return tokenizer.decode_ids(ids.unflatten(1, decoded.masks.shape[-2:]))
