from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from mmcv.transforms import BaseTransform
from PIL import Image
from pycocotools import mask as coco_mask

from mmocl.datasets.transforms.load_image import CorruptImageError
from mmocl.registry import TRANSFORMS

VOC_VOID = 255
# What of an entry of a dataset says where masks are.
MASK_KEYS = ('instances', 'panoptic_map_path', 'object_map_path', 'label_map_path')


@TRANSFORMS.register_module()
class LoadObjectMasks(BaseTransform):
    """Read the ground truth of a test image, at the resolution of the file.

    Sets ``gt_objects``, a dict of ``masks`` (M, H, W) bool, ``labels`` (M,) int64 and ``crowd``
    (M,) bool, of panoptic ground truth also ``stuff`` (M,) bool, and where pixels lack annotation
    ``gt_void`` (H, W) bool. Reads what the datasets with masks give in ``test_mode``: COCO's
    annotations, its panoptic maps, VOC's pairs of images, or a label map. A ``frame`` that
    ``LoadImage`` cut is cut here too.

    Raises:
        ValueError: If there is no ground truth, or it does not fit the image.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the ground truth; see the class."""
        crowd, stuff, void = None, None, None
        if 'instances' in results:
            masks, labels, crowd = _from_coco(results)
        elif 'panoptic_map_path' in results:
            masks, void = _from_panoptic(results)
            labels, crowd, stuff = _segments_info(results['segments'])
        elif 'object_map_path' in results:
            masks, labels, void = _from_voc(results)
        elif 'label_map_path' in results:
            form = results['label_format']
            ids = _read_ids(results['label_map_path'], form.first_channel)
            masks, labels, void = form.objects(ids)
        else:
            raise ValueError(
                f'LoadObjectMasks found no masks for {results.get("img_path")}; expected a dataset '
                'with masks, such as CocoObjects or VocObjects, and test_mode=True'
            )
        size = results.get('file_shape', results.get('ori_shape', masks.shape[1:]))
        if tuple(size) != masks.shape[1:]:
            raise ValueError(
                f'image {results["img_path"]} is {tuple(size)} (height, width), but its '
                f'annotation says {masks.shape[1:]}'
            )
        if 'frame' in results:
            top, left, bottom, right = results['frame']
            masks = masks[:, top:bottom, left:right]
            void = None if void is None else void[top:bottom, left:right]
        crowd = np.zeros(len(masks), dtype=bool) if crowd is None else crowd
        results['gt_objects'] = {'masks': masks, 'labels': labels, 'crowd': crowd}
        if stuff is not None:
            results['gt_objects']['stuff'] = stuff
        if void is not None:
            results['gt_void'] = void
        return results


def _from_coco(results: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks, labels and crowd flags of COCO annotations."""
    instances, height, width = results['instances'], results['height'], results['width']
    labels = np.array([obj['category_id'] for obj in instances], dtype=np.int64)
    crowd = np.array([obj['iscrowd'] for obj in instances], dtype=bool)
    if not instances:
        return np.zeros((0, height, width), dtype=bool), labels, crowd
    rles = []
    for obj in instances:
        try:
            rles.append(_rle(obj['segmentation'], height, width))
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise ValueError(
                f'cannot read a segmentation of category {obj["category_id"]} in '
                f'{results["img_path"]} ({error}); expected polygons or RLE of {height}x{width}'
            ) from error
    decoded = coco_mask.decode(rles)
    return np.ascontiguousarray(decoded.transpose(2, 0, 1)).astype(bool), labels, crowd


def _rle(segmentation: Any, height: int, width: int) -> dict:
    """Compressed RLE of polygons, of uncompressed or of compressed RLE."""
    if isinstance(segmentation, list):
        if not segmentation:
            raise ValueError('no polygon')
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if list(segmentation['size']) != [height, width]:
        raise ValueError(f'RLE of size {segmentation["size"]}')
    if isinstance(segmentation['counts'], list):
        # Checked here, because pycocotools fills such a mask with stray memory.
        if sum(segmentation['counts']) != height * width:
            raise ValueError(f'RLE of {sum(segmentation["counts"])} pixels')
        return coco_mask.frPyObjects(segmentation, height, width)
    return segmentation


def _from_panoptic(
    results: dict[str, Any],
) -> tuple[Bool[np.ndarray, 'M H W'], Bool[np.ndarray, 'H W']]:
    """Masks of COCO's panoptic segments, in the order of the json, and the void pixels."""
    path = results['panoptic_map_path']
    mode, pixels = _read_png(path)
    if mode != 'RGB':
        raise ValueError(f'{path} has mode {mode}; expected a colour (RGB) PNG')
    ids = pixels @ np.array([1, 256, 65536], np.int32)
    listed = np.array([segment['id'] for segment in results['segments']], np.int64)
    wrong = np.setxor1d(np.unique(ids[ids != 0]), listed)
    if wrong.size or len(np.unique(listed)) < len(listed):
        raise ValueError(
            f'{path} does not fit its segments_info: {wrong.size} ids occur in only one of them '
            f'({wrong[:3].tolist()}), {len(listed) - len(np.unique(listed))} are listed twice'
        )
    return ids == listed[:, None, None], ids == 0


def _segments_info(segments: list[dict]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, crowd and stuff flags of COCO's panoptic segments."""
    labels = np.array([segment['category_id'] for segment in segments], dtype=np.int64)
    crowd = np.array([segment['iscrowd'] for segment in segments], dtype=bool)
    return labels, crowd, np.array([segment['stuff'] for segment in segments], dtype=bool)


def _from_voc(results: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, Bool[np.ndarray, 'H W']]:
    """Masks, labels and void pixels of a pair of VOC palette images."""
    objects = _read_ids(results['object_map_path'])
    classes = _read_ids(results['class_map_path'])
    if objects.shape != classes.shape:
        raise ValueError(
            f'{results["object_map_path"]} is {objects.shape}, but {results["class_map_path"]} is '
            f'{classes.shape}; expected the same size'
        )
    ids = np.unique(objects)
    ids = ids[(ids != 0) & (ids != VOC_VOID)]
    masks = objects == ids[:, None, None]
    # Border pixels may differ between the two files: an object has the class of most of its pixels.
    counts = np.array([np.bincount(classes[m], minlength=256) for m in masks]).reshape(-1, 256)
    counts[:, [0, VOC_VOID]] = 0
    if (counts.max(axis=1) == 0).any():
        number = ids[counts.max(axis=1) == 0][0]
        raise ValueError(
            f'object {number} of {results["object_map_path"]} has no class in '
            f'{results["class_map_path"]}'
        )
    return masks, counts.argmax(axis=1).astype(np.int64), objects == VOC_VOID


def _read_ids(path: str, first_channel: bool = False) -> UInt8[np.ndarray, 'H W']:
    """Palette indices or grey values of a PNG; if asked, the first channel of a colour one."""
    mode, ids = _read_png(path)
    if first_channel and mode in ('RGB', 'RGBA', 'LA'):
        return ids[..., 0]
    if mode not in ('P', 'L'):
        raise ValueError(f'{path} has mode {mode}; expected a palette (P) or grey (L) PNG')
    return ids


def _read_png(path: str) -> tuple[str, np.ndarray]:
    """Mode and pixels of an image."""
    try:
        with Image.open(path) as image:
            return image.mode, np.array(image)
    except (OSError, SyntaxError) as error:
        raise CorruptImageError(f'cannot decode mask {path}: {error}') from error
