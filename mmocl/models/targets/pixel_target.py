from jaxtyping import Float
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional

from mmocl.models.targets.base import ReconstructionTarget
from mmocl.registry import MODELS
from mmocl.structures import Codes, Decoded, Features, Target


@MODELS.register_module()
class PixelTarget(ReconstructionTarget):
    """Reconstruct the normalised input image.

    Args:
        patch_size: None: the image as it is, for decoders that paint images. Otherwise patches of
            that side as tokens (B, N, 3 * patch_size ** 2), for decoders of tokens.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(self, patch_size: int | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.patch_size = patch_size
        #: Sides of the image must be multiples of it.
        self.size_multiple = patch_size or 1
        self.shape = 'image' if patch_size is None else 'tokens'

    def out_channels(self, in_channels: int) -> int:
        """Channels of a pixel or patch."""
        return 3 * (self.patch_size or 1) ** 2

    def forward(
        self,
        images: Float[Tensor, 'B 3 H W'] | None,
        features: Features,
        codes: Codes | None = None,
    ) -> Target:
        """Return the images, or their patches.

        Raises:
            ValueError: If the model was fed cached tokens, which hold no pixels, or the patch size
                does not divide the image.
        """
        if images is None:
            raise ValueError('PixelTarget needs images, but the model was given cached tokens.')
        if self.patch_size is None:
            return Target(images)
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f'PixelTarget cannot cut {height}x{width} images into patches of '
                f'{self.patch_size}x{self.patch_size}.'
            )
        patches = functional.unfold(images, self.patch_size, stride=self.patch_size)
        grid = (height // self.patch_size, width // self.patch_size)
        return Target(patches.transpose(1, 2), grid=grid)

    def to_images(
        self, decoded: Decoded, tokenizer: BaseModule | None = None
    ) -> Float[Tensor, 'B 3 H W']:
        """Put patches together again; their grid is that of the masks.

        Raises:
            ValueError: If there are patches, but no masks.
        """
        if self.patch_size is None:
            return decoded.recon
        if decoded.masks is None:
            raise ValueError(
                'Patches without masks cannot be put together: their grid is not known.'
            )
        height, width = decoded.masks.shape[-2:]
        return functional.fold(
            decoded.recon.transpose(1, 2),
            (height * self.patch_size, width * self.patch_size),
            self.patch_size,
            stride=self.patch_size,
        )
