from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from mmengine.structures import BaseDataElement

from mmocl.datasets.object_dataset import ObjectDataset
from mmocl.datasets.transforms import (
    MASK_KEYS,
    CorruptImageError,
    LoadObjectMasks,
    pack_ground_truth,
    read_image,
    read_orientation,
    turned,
)
from mmocl.registry import DATASETS
from mmocl.require_module import require_module
from mmocl.visualization.drawing import palette

# What this dataset decides itself, or its inputs being images rules out.
_OWN = ('pipeline', 'test_mode', 'token_cache', 'image_cache')
# Transforms behind which a prediction of mmseg does not lie on the file, or is none of one image.
_MOVING = re.compile('Crop|Rotat|Pad|Mosaic|CutOut|TestTimeAug|Affine|Translate|Shear')
# What of the data set's meta information is true of this one.
_ABOUT = ('dataset_type', 'complete')


@DATASETS.register_module()
class SlotSegDataset(ObjectDataset):
    """Images of one of our data sets for mmsegmentation, whose classes are slots.

    The pipeline is made of mmseg's own transforms. In test mode the dataset itself adds
    ``gt_objects`` and ``gt_void`` to the packed data sample, in the frame of the file, so that the
    pipeline also serves mmseg's inferencer. mmseg brings predictions back to the size of the file,
    so the metrics' protocols must have ``crop='squash'``, and others are refused. A data set
    without masks has no ground truth in test mode either, which is enough for pictures.

    mmseg's ``LoadImageFromFile`` turns images as their EXIF orientation says; masks, which fit the
    pixels of the file, are turned with them, unless it is told to leave images as they are
    (``color_type='color_ignore_orientation'``).

    Args:
        objects: Config of an ``ObjectDataset`` without a pipeline, such as
            ``dict(type='VocObjects', data_root=..., split='val')``.
        num_slots: Number of slots, which are the classes.
        pipeline: Transforms of mmseg, as configs or callables, ``PackSegInputs`` last.
        test_mode: Whether to add ground truth, and whether a corrupt image raises instead of being
            replaced by another one.
        indices: Keep these images only; an int n means the first n.

    Raises:
        FileNotFoundError: If files of the data set are missing.
        ImportError: If mmsegmentation is not installed.
        ValueError: If ``objects`` is not such a config, there is no slot, the pipeline loads
            annotations or does not pack, or one for tests moves pixels within the image; when a
            test image was flipped, or is of another size than its masks.
    """

    METAINFO: dict = {'dataset_type': 'SlotSegDataset'}  # noqa: RUF012

    def __init__(
        self,
        objects: dict[str, Any],
        num_slots: int,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        indices: int | Sequence[int] | None = None,
    ) -> None:
        require_module('mmseg', 'segmentation', wanted_by='SlotSegDataset')
        if num_slots < 1:
            raise ValueError(f'num_slots must be at least 1, got {num_slots}')
        source = _build(objects, test_mode)
        self._where = source.where
        self._entries = [source.get_data_info(i) for i in range(len(source))]
        self.LABEL_FORMAT = source.LABEL_FORMAT
        super().__init__(source.data_root, source.split, pipeline, test_mode, indices=indices)
        self._load_masks = LoadObjectMasks()
        if 'LoadAnnotations' in self.step_names:
            raise ValueError(
                'pipeline of SlotSegDataset has LoadAnnotations, but slots have no class maps; '
                f'expected a pipeline without it, got {self.step_names}'
            )
        moving = [name for name in self.step_names if _MOVING.search(name)]
        if test_mode and moving:
            raise ValueError(
                f'test pipeline of SlotSegDataset has {moving}, but predictions are brought back '
                'to the size of the file, so that the whole image has to be shown, once; pad by '
                'data_preprocessor.test_cfg instead'
            )
        # Metrics read of which data set it is, and whether all of an image is annotated.
        self._metainfo |= {k: v for k, v in source.metainfo.items() if k in _ABOUT}
        self._metainfo['classes'] = tuple(f'slot {i}' for i in range(num_slots))
        self._metainfo['palette'] = palette(num_slots).tolist()

    @property
    def where(self) -> str:
        """What the images are called in messages."""
        return self._where

    @property
    def _turns_images(self) -> bool:
        """Whether the loader of the pipeline obeys the EXIF orientation, as mmcv's does."""
        loaders = [s for s in self.pipeline.transforms if hasattr(s, 'color_type')]
        backend = getattr(loaders[0], 'imdecode_backend', 'cv2') if loaders else None
        return backend in ('cv2', 'pillow') and loaders[0].color_type in ('color', 'grayscale')

    @property
    def step_names(self) -> list[str]:
        """Types of the transforms, for messages."""
        return [type(step).__name__ for step in self.pipeline.transforms]

    def load_data_list(self) -> list[dict]:
        """The entries of the data set, with what mmseg's transforms expect besides."""
        entries, self._entries = self._entries, []
        mmseg = {'reduce_zero_label': False, 'label_map': None}
        return [{**entry, **mmseg, 'seg_fields': []} for entry in entries]

    def run_pipeline(self, info: dict[str, Any]) -> dict | None:
        """Transform an entry, and in test mode add its ground truth."""
        try:
            packed = self.pipeline(info)
        except Exception:
            # mmcv's decoders each fail in their own way: whether it is the file, ours says.
            read_image(info['img_path'])
            raise
        if packed is None:
            raise CorruptImageError(f'the pipeline gave nothing for {info["img_path"]}')
        sample = packed.get('data_samples')
        if not isinstance(sample, BaseDataElement):
            raise ValueError(
                'pipeline of SlotSegDataset packs no data sample; expected PackSegInputs as its '
                f'last step, got {self.step_names}'
            )
        if self.test_mode:
            sample.set_metainfo({'img_id': info['img_id'], 'crop': 'squash'})
            if any(key in info for key in MASK_KEYS):
                # What the transforms said of the image, whether packed or not.
                pack_ground_truth(sample, self._ground_truth({**info, **sample.metainfo}))
        return packed

    def _ground_truth(self, results: dict[str, Any]) -> dict[str, Any]:
        """Masks of an image, turned as its loader turned it."""
        shape = tuple(results.pop('ori_shape')[:2])
        results = self._load_masks(results)
        if self._turns_images:
            orientation = read_orientation(results['img_path'])
            masks = results['gt_objects']['masks']
            results['gt_objects']['masks'] = turned(masks, orientation)
            if 'gt_void' in results:
                results['gt_void'] = turned(results['gt_void'], orientation)
        size = results['gt_objects']['masks'].shape[1:]
        if size != shape:
            raise ValueError(
                f'image {results["img_path"]} is {shape} (height, width), but its annotation says '
                f'{size}'
            )
        return results


def _build(objects: dict[str, Any], test_mode: bool) -> ObjectDataset:
    """The data set that lists the images."""
    expected = "expected a config of an ObjectDataset, such as dict(type='VocObjects', ...)"
    if not isinstance(objects, dict) or 'type' not in objects:
        raise ValueError(f'objects of SlotSegDataset: {expected}, got {objects!r}')
    own = [key for key in _OWN if key in objects]
    if own:
        raise ValueError(
            f'objects of SlotSegDataset must not have {own}: pipeline and test_mode are arguments '
            'of SlotSegDataset itself, and mmseg loads images itself'
        )
    source = DATASETS.build({**objects, 'test_mode': test_mode})
    if not isinstance(source, ObjectDataset):
        raise ValueError(f'objects of SlotSegDataset: {expected}, got a {type(source).__name__}')
    return source
