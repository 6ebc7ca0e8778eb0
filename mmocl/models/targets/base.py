from abc import ABCMeta, abstractmethod

from jaxtyping import Float
from mmengine.model import BaseModule
from torch import Tensor

from mmocl.structures import Codes, Decoded, Features, Target


class ReconstructionTarget(BaseModule, metaclass=ABCMeta):
    """Base of all targets: what the decoder has to reconstruct.

    ``shape`` says what the values look like, and so which decoders fit: ``'image'`` (B, C, H, W),
    ``'tokens'`` (B, N, C) or ``'ids'`` (B, N).
    """

    shape: str
    #: Whether tokens of a tokenizer are needed.
    needs_codes = False
    #: Whether the tokens of the backbone must be there before training, not learned with it.
    needs_features = False

    @abstractmethod
    def out_channels(self, in_channels: int) -> int:
        """Channels of the decoder's output, given those of the backbone."""

    @abstractmethod
    def forward(
        self,
        images: Float[Tensor, 'B 3 H W'] | None,
        features: Features,
        codes: Codes | None = None,
    ) -> Target:
        """Return what to reconstruct of a batch.

        Args:
            images: The normalised images (None: the model was fed cached tokens).
            features: Tokens of the backbone.
            codes: Tokens of the tokenizer, if the model has one.
        """

    def to_images(
        self, decoded: Decoded, tokenizer: BaseModule | None = None
    ) -> Float[Tensor, 'B 3 H W'] | None:
        """Turn a reconstruction into normalised images; None if it cannot be drawn."""
        return None
