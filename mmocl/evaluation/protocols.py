"""Named, versioned answers to everything in which published mask evaluators differ.

Label maps of the whole evaluation: in true maps 0 is background, -1 an ignored pixel and above 0
an object (or class); predicted maps hold slot ids from 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from mmocl.evaluation.functional import label_map


@dataclass(frozen=True)
class TruthMaps:
    """Ground truth of one image under a protocol.

    ``num_objects`` counts the objects with a pixel in the crop before overlaps (and void) are
    removed, so it can exceed the number of ids in ``instances``.
    """

    instances: Int64[np.ndarray, 'S1 S2']
    classes: Int64[np.ndarray, 'S1 S2']
    num_objects: int


@dataclass(frozen=True)
class MaskProtocol:
    """How ground truth and soft masks become two label maps, and which images count.

    Pixels of two instances are ignored in the instance map by every protocol, the background is
    never a segment, and scores are averaged over images.

    Args:
        name: Name under which results are reported.
        version: Raised whenever a change of this package alters any score of the preset.
        crop: ``'center'``: short side to ``mask_size``, then the centre square; ``'squash'``: both
            sides to ``mask_size``.
        mask_size: Side of the square on which scores are computed, in pixels.
        crowd: Whether crowd regions are objects (``'keep'``) or background (``'drop'``).
        class_overlap: Pixels of two instances (also of the same class) in the class map:
            ``'ignore'`` them, or the ``'highest'`` class id wins.
        void: Pixels without annotation, overlapping or not: ``'ignore'`` removes them from both
            sides, ``'background'`` makes them background, ``'unread'`` acts as if they were not
            marked.
        empty: FG-ARI of an image without objects: ``'one'`` counts 1.0, ``'skip'`` leaves the
            image out. Best overlaps always leave it out.
    """

    name: str
    version: int
    crop: Literal['center', 'squash']
    mask_size: int
    crowd: Literal['keep', 'drop']
    class_overlap: Literal['ignore', 'highest']
    void: Literal['ignore', 'background', 'unread']
    empty: Literal['one', 'skip']

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
        rows, cols = self._nearest(*masks.shape[1:])
        # Whole rows first: they are copied as blocks, and few columns are then left to gather.
        masks = masks.take(rows, axis=1).take(cols, axis=2)
        return self.label_maps(masks, labels, crowd, None if void is None else void[rows][:, cols])

    def label_maps(
        self,
        masks: Bool[np.ndarray, 'M H W'],
        labels: Int[np.ndarray, ' M'],
        crowd: Bool[np.ndarray, ' M'],
        void: Bool[np.ndarray, 'H W'] | None = None,
    ) -> TruthMaps:
        """Draw annotations as label maps at the resolution they have.

        Instance ids are 1, 2, ... in the order of ``masks``; class ids are 1, 2, ... in the order
        of the category ids, so a category id of 0 is an object too.

        Args:
            masks: Instance masks (M, H, W).
            labels: Category ids (M,).
            crowd: Crowd flags (M,).
            void: Pixels without annotation (H, W).

        Returns:
            Label maps of H x W pixels.
        """
        if self.crowd == 'drop':
            masks, labels = masks[~crowd], labels[~crowd]
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
        instances = np.where(overlap, -1, drawn).astype(np.int64)
        if self.class_overlap == 'highest':
            classes = highest.astype(np.int64)
        else:
            # The last entry serves the overlap pixels, whose index is -1.
            classes = np.array([0, *class_ids, -1], np.int64)[instances]

        if void is not None and self.void != 'unread':
            value = -1 if self.void == 'ignore' else 0
            instances[void] = value
            classes[void] = value
        return TruthMaps(instances, classes, num_objects)

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

    def _nearest(
        self, height: int, width: int
    ) -> tuple[Int64[np.ndarray, ' S'], Int64[np.ndarray, ' S']]:
        """Source rows and columns of the square: 'nearest-exact', then a centre crop.

        Long side and crop offset round as torchvision's ``Resize`` and ``CenterCrop`` do.
        """
        short = min(height, width)
        indices = []
        for side in (height, width):
            resized = self.mask_size * side // short if self.crop == 'center' else self.mask_size
            start = round((resized - self.mask_size) / 2)
            pixel = np.arange(start, start + self.mask_size, dtype=np.int64)
            # floor((pixel + 0.5) * side / resized), in integers.
            indices.append((2 * pixel + 1) * side // (2 * resized))
        return indices[0], indices[1]


PROTOCOLS: dict[str, MaskProtocol] = {
    protocol.name: protocol
    for protocol in (
        # gkakogeorgiou/spot@13c5926, as SPOT and most later papers report COCO and VOC. Overlap
        # pixels are ignored for class masks too; VOC's 255 becomes background.
        MaskProtocol(
            name='spot320',
            version=1,
            crop='center',
            mask_size=320,
            crowd='keep',
            class_overlap='ignore',
            void='background',
            empty='one',
        ),
        # amazon-science/object-centric-learning-framework@0a97292, as DINOSAUR reports.
        MaskProtocol(
            name='oclf320',
            version=1,
            crop='center',
            mask_size=320,
            crowd='drop',
            class_overlap='highest',
            void='ignore',
            empty='one',
        ),
        # martius-lab/videosaur@5d09311. It scores no class masks and no VOC; class masks here
        # treat overlap as its instance masks do, and void is not read.
        MaskProtocol(
            name='videosaur224',
            version=1,
            crop='center',
            mask_size=224,
            crowd='drop',
            class_overlap='ignore',
            void='unread',
            empty='skip',
        ),
        # Synthetic scenes, whose masks neither overlap nor hold void or crowd.
        MaskProtocol(
            name='square128',
            version=1,
            crop='squash',
            mask_size=128,
            crowd='drop',
            class_overlap='ignore',
            void='unread',
            empty='skip',
        ),
    )
}


def get_protocol(name: str) -> MaskProtocol:
    """Look up a preset.

    Args:
        name: Key of ``PROTOCOLS``.

    Returns:
        The preset.

    Raises:
        ValueError: If there is no such preset.
    """
    if name not in PROTOCOLS:
        raise ValueError(f'unknown mask protocol {name!r}; known: {", ".join(sorted(PROTOCOLS))}')
    return PROTOCOLS[name]
