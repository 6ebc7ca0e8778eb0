from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmocl.models.decoders import MLPDecoder, SpatialBroadcastDecoder
from mmocl.models.slot_heads.mixture import restrict
from mmocl.structures import Decoded, Features, SlotOutput

#: Names of what an exported model gives, in this order.
OUTPUTS = ('slots', 'masks', 'attention', 'weights')


class ExportedModel(nn.Module):
    """A model as a function of images alone, for ONNX and ``torch.export``.

    The data preprocessor is a part of it: images are RGB in [0, 255]. Random starts of slots are
    drawn once, from ``seed`` as :class:`~mmocl.apis.SlotInferencer` does, and kept: all images of
    all batches start from the same draws, so that the slots of an image depend on nothing but the
    image. Slots that a mixture prunes get no mask and no attention.

    Args:
        model: A model of slots, in evaluation mode from here on.
        shape: Height and width of the images.
        num_slots: Another number of slots, where the slot head's initializer allows it.
        num_iters: Another number of updates.
        seed: Of the random starts.

    Raises:
        ValueError: If the model draws random numbers elsewhere than in its initializer, or its
            decoder cannot leave out pruned slots afterwards.
    """

    noise: Tensor | None

    def __init__(
        self,
        model: nn.Module,
        shape: tuple[int, int],
        num_slots: int | None = None,
        num_iters: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model: Any = model.eval().requires_grad_(False)
        self.options = {'num_slots': num_slots, 'num_iters': num_iters}
        device = next(model.parameters()).device
        head: Any = model.slot_head
        noise = head.initializer.seeded_noise(1, num_slots, seed)
        self.register_buffer('noise', None if noise is None else noise.to(device))
        images = 255 * torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(seed))
        images = images.to(device)
        with torch.no_grad():
            for first, second in zip(self(images), self(images), strict=True):
                if not torch.equal(first, second):
                    raise ValueError(
                        f'{type(self.model.slot_head).__name__} draws random numbers of its own, '
                        'which an exported model cannot; only those of an initializer are kept.'
                    )

    def forward(
        self, image: Float[Tensor, 'B 3 H W']
    ) -> tuple[
        Float[Tensor, 'B K D'],
        Float[Tensor, 'B K h w'],
        Float[Tensor, 'B K u v'],
        Float[Tensor, 'B K'],
    ]:
        """Return slots, masks (those of the decoder if it has any), attention and weights.

        ``weights`` sum to one over the slots: the mixing weights of a mixture, else the share of
        the tokens that a slot has won.
        """
        images, features, found = self._encode(image)
        attention = found.attn.unflatten(2, features.grid)
        masks = self._masks(images, features, found)
        weights = found.state.log_weight
        weights = found.attn.mean(dim=2) if weights is None else weights.exp()
        return found.slots, attention if masks is None else masks, attention, weights

    def _encode(self, image: Tensor) -> tuple[Tensor, Features, SlotOutput]:
        images = self.model.data_preprocessor({'inputs': image})['inputs']
        features = self.model.extract(images)
        noise = None if self.noise is None else self.noise.expand(image.shape[0], -1, -1)
        return images, features, self.model.slot_head(features, noise=noise, **self.options)

    def _masks(self, images: Tensor, features: Features, found: SlotOutput) -> Tensor | None:
        """Masks of the decoder; None if it has none."""
        decoder = self.model.decoder
        if not getattr(decoder, 'has_masks', False):
            return None
        codes = getattr(self.model, 'tokenize', lambda _: None)(images)
        target = self.model.target(images, features, codes)
        # With flags of active slots a decoder would gather them, whose number a graph cannot know.
        decoded: Decoded = self.model.decode(found.slots, target)
        if found.active is None or decoded.masks is None:
            return decoded.masks
        if not isinstance(decoder, MLPDecoder | SpatialBroadcastDecoder):
            raise ValueError(
                f'{type(decoder).__name__} decodes slots together, so pruned ones cannot be left '
                'out afterwards; expected model.slot_head.prune_threshold=0.'
            )
        # The masks are a softmax over the slots, slot by slot; this is that over the active ones.
        return restrict(decoded.masks.flatten(2), found.active).view_as(decoded.masks)
