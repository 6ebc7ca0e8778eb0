from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mmocl.models.targets.base import ReconstructionTarget
from mmocl.registry import MODELS
from mmocl.structures import Codes, Features, Target


@MODELS.register_module()
class FeatureTarget(ReconstructionTarget):
    """Reconstruct the backbone's tokens, detached.

    DINOSAUR, `arXiv:2209.14860 <https://arxiv.org/abs/2209.14860>`_.

    Args:
        normalize: Standardise every token over its channels (a layer norm without weights).
            Deviation from the paper, which takes tokens as they are.
        init_cfg: MMEngine's initialisation config.
    """

    shape = 'tokens'
    needs_features = True

    def __init__(self, normalize: bool = False, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.normalize = normalize

    def out_channels(self, in_channels: int) -> int:
        """Channels of the backbone."""
        return in_channels

    def forward(
        self,
        images: Float[Tensor, 'B 3 H W'] | None,
        features: Features,
        codes: Codes | None = None,
    ) -> Target:
        """Return the tokens (B, N, C)."""
        tokens = features.tokens.detach()
        if self.normalize:
            tokens = functional.layer_norm(tokens, tokens.shape[-1:])
        return Target(tokens, grid=features.grid)
