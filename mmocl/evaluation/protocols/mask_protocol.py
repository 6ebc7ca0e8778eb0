from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Int64, Shaped
from torch import Tensor

from mmocl.evaluation.functional import label_map
from mmocl.evaluation.protocols.truth_maps import IGNORED, UNANNOTATED, TruthMaps

_CHOICES = {
    'crop': ('center', 'squash'),
    'crowd': ('keep', 'drop', 'ignore'),
    'overlap': ('ignore', 'own'),
    'class_overlap': ('same', 'highest'),
    'void': ('ignore', 'truth', 'background', 'own', 'unread'),
    'empty': ('one', 'skip'),
    'mask_source': ('decoder', 'attention'),
    'single_object': ('exact', 'one', 'full'),
    'background_is_segment': ('mbo', 'miou'),
    'average': ('image', 'object'),
}
_VOID_VALUES = {'ignore': IGNORED, 'truth': UNANNOTATED, 'background': 0, 'own': 0}


class ModelInput(NamedTuple):
    """What the model is shown: ``size`` and ``frame`` are None where the config decides."""

    crop: str
    size: int | None
    frame: tuple[int, int, int, int] | None


@dataclass(frozen=True)
class MaskProtocol:
    """How ground truth and soft masks become two label maps, what is scored, and what counts.

    Args:
        name: Name under which results are reported.
        version: Raised whenever a change of this package alters any score of the preset.
        crop: ``'center'``: short side to ``mask_size``, then the centre square; ``'squash'``: both
            sides to ``mask_size``.
        mask_size: Side of the square on which scores are computed, in pixels.
        crowd: Whether crowd regions are objects (``'keep'``), background (``'drop'``), or left out
            on both sides where no object lies on them (``'ignore'``).
        overlap: Pixels of two instances in the instance map: ``'ignore'`` leaves them out on both
            sides; ``'own'`` makes them background in the truth, and a segment of their own in the
            prediction.
        class_overlap: The same pixels in the class map (also where both instances have one class):
            the ``'same'`` as in the instance map, or the ``'highest'`` class id wins.
        void: Pixels without annotation, overlapping or not: ``'ignore'`` leaves them out on both
            sides, ``'truth'`` on the true side only (they still enlarge predicted segments),
            ``'background'`` makes them background, ``'own'`` is as for overlaps, ``'unread'`` acts
            as if they were not marked.
        empty: FG-ARI of an image without objects: ``'one'`` counts 1.0, ``'skip'`` leaves the
            image out. Best overlaps always leave out an image without segments.
        single_object: FG-ARI of an image with one object: ``'exact'``: 1 if it is not split, else
            0; ``'one'``: 1.0 in any case; ``'full'``: 1.0 if the object fills the image, else as
            ``'exact'``.
        mask_source: Masks that the published numbers are of, ``'decoder'`` or ``'attention'``.
        background_is_segment: Scores in which the background is a segment like any other, of
            ``'mbo'`` and ``'miou'``.
        average: Overlaps are means over images (``'image'``), or over all objects (``'object'``).
        input_size: Side of the square that the model is shown; None: as the config says.
        frame: Part of the image file that is the image, as ``LoadImage`` takes it; None: as the
            config says.
        complete: Whether everything that is not an object must be annotated as background, or
            marked as void. COCO's instance annotations are not complete.
    """

    name: str
    version: int
    crop: str
    mask_size: int
    crowd: str
    overlap: str
    class_overlap: str
    void: str
    empty: str
    mask_source: str
    single_object: str = 'exact'
    background_is_segment: tuple[str, ...] = ()
    average: str = 'image'
    input_size: int | None = None
    frame: tuple[int, int, int, int] | None = None
    complete: bool = False

    def __post_init__(self) -> None:
        for field, choices in _CHOICES.items():
            value = getattr(self, field)
            several = field == 'background_is_segment' and isinstance(value, tuple)
            if not all(one in choices for one in (value if several else [value])):
                raise ValueError(
                    f'{field} of mask protocol {self.name!r} must be among {choices}, got {value!r}'
                )
        for field in ('mask_size', 'input_size'):
            size = getattr(self, field)
            if not (size is None and field == 'input_size') and (type(size) is not int or size < 1):
                raise ValueError(
                    f'{field} of mask protocol {self.name!r} must be an int of at least 1, got '
                    f'{size!r}'
                )

    @property
    def model_input(self) -> ModelInput:
        """What the model is shown; presets that agree in it are scored in one pass."""
        return ModelInput(self.crop, self.input_size, self.frame)

    def ground_truth(
        self,
        masks: Bool[np.ndarray, 'M H W'],
        labels: Int[np.ndarray, ' M'],
        crowd: Bool[np.ndarray, ' M'],
        void: Bool[np.ndarray, 'H W'] | None = None,
    ) -> TruthMaps:
        """Resize annotations to the protocol's square and draw them as label maps.

        Args:
            masks: Instance masks (M, H, W) at the original resolution.
            labels: Category ids (M,).
            crowd: Crowd flags (M,).
            void: Pixels without annotation (H, W).

        Returns:
            Label maps of ``mask_size`` squared pixels.
        """
        void = None if void is None else self.resize(void)
        return self.label_maps(self.resize(masks), labels, crowd, void)

    def resize(self, maps: Shaped[np.ndarray, '*M H W']) -> Shaped[np.ndarray, '*M S S']:
        """Bring masks or label maps to the protocol's square: 'nearest-exact', then the crop.

        Long side and crop offset round as torchvision's ``Resize`` and ``CenterCrop`` do.

        Args:
            maps: Any number of maps (H, W) at the original resolution.

        Returns:
            The same of ``mask_size`` squared pixels.
        """
        height, width = maps.shape[-2:]
        short = min(height, width)
        # Whole rows first: they are copied as blocks, and few columns are then left to gather.
        for axis, side in ((-2, height), (-1, width)):
            resized = self.mask_size * side // short if self.crop == 'center' else self.mask_size
            start = round((resized - self.mask_size) / 2)
            pixel = np.arange(start, start + self.mask_size, dtype=np.int64)
            # floor((pixel + 0.5) * side / resized), in integers.
            maps = maps.take((2 * pixel + 1) * side // (2 * resized), axis=axis)
        return maps

    def label_maps(
        self,
        masks: Bool[np.ndarray, 'M H W'],
        labels: Int[np.ndarray, ' M'],
        crowd: Bool[np.ndarray, ' M'],
        void: Bool[np.ndarray, 'H W'] | None = None,
    ) -> TruthMaps:
        """Draw annotations as label maps at the resolution they have.

        Instance ids are 1, 2, ... in the order of ``masks``, those of crowds left out; class ids
        are 1, 2, ... in the order of the category ids, so a category id of 0 is an object too.

        Args:
            masks: Instance masks (M, H, W).
            labels: Category ids (M,).
            crowd: Crowd flags (M,).
            void: Pixels without annotation (H, W).

        Returns:
            Label maps of H x W pixels.
        """
        crowds = masks[crowd].any(axis=0)
        kept = self.is_object(crowd)
        masks, labels = masks[kept], labels[kept]
        num_objects = int(masks.any(axis=(1, 2)).sum())
        class_ids = np.unique(labels, return_inverse=True)[1] + 1

        # One pass per mask in a small type; the sums are unambiguous where one mask is set.
        cover = np.zeros(masks.shape[1:], np.int32)
        drawn = np.zeros_like(cover)
        highest = np.zeros_like(cover)
        for index, (mask, class_id) in enumerate(zip(masks, class_ids, strict=True), start=1):
            cover += mask
            drawn += mask * np.int32(index)
            if self.class_overlap == 'highest':
                np.maximum(highest, mask * np.int32(class_id), out=highest)
        overlap = cover > 1
        drawn[overlap] = 0
        instances = drawn.astype(np.int64)
        classes = np.array([0, *class_ids], np.int64)[instances]
        if self.class_overlap == 'highest':
            classes = highest.astype(np.int64)
        elif self.overlap == 'ignore':
            classes[overlap] = IGNORED
        if self.overlap == 'ignore':
            instances[overlap] = IGNORED
        own = overlap & (self.overlap == 'own')
        for drawing in (instances, classes):
            if self.crowd == 'ignore':
                drawing[crowds & (drawing == 0)] = IGNORED
            if void is not None and self.void != 'unread':
                drawing[void] = _VOID_VALUES[self.void]
        if void is not None and self.void == 'own':
            own |= void
        return TruthMaps(instances, classes, num_objects, own if own.any() else None)

    def is_object(self, crowd: Bool[np.ndarray, ' M']) -> Bool[np.ndarray, ' M']:
        """Which annotations are objects: instance ids 1, 2, ... are these, in their order."""
        return ~crowd | (self.crowd == 'keep')

    def prediction(self, soft_masks: Float[Tensor, 'K h w']) -> Int64[np.ndarray, 'S S']:
        """Resize soft masks bilinearly to the protocol's square, then take the best slot.

        Args:
            soft_masks: Soft masks (K, h, w) of an image that showed the protocol's crop.

        Returns:
            Slot ids of ``mask_size`` squared pixels.

        Raises:
            ValueError: If a value is NaN or infinite, there is no slot, or the masks are not square
                although the protocol crops a square.
        """
        num_slots, height, width = soft_masks.shape
        if not num_slots:
            raise ValueError('soft masks hold no slot')
        if self.crop == 'center' and height != width:
            raise ValueError(
                f'soft masks of {height}x{width} are not square, but protocol {self.name!r} scores '
                'the centre square: the model must see that square too'
            )
        if not bool(soft_masks.isfinite().all()):
            raise ValueError('soft masks hold NaN or infinite values')
        return label_map(soft_masks, (self.mask_size, self.mask_size)).cpu().numpy()

    def scores_fg_ari(self, truth: TruthMaps) -> bool:
        """Whether the image counts in the mean FG-ARI (an undefined value counts as 1.0)."""
        return self.empty == 'one' or truth.num_objects > 0
