"""What the metrics read from a data sample, which MMEngine's evaluator hands over as a dict."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64, Integer

from mmocl.evaluation.protocols import MaskProtocol
from mmocl.structures import MASK_SOURCES, soft_masks


@dataclass(frozen=True)
class TrueObjects:
    """Annotated objects of an image; ``void`` marks the pixels without annotation.

    ``stuff`` tells which segments are stuff; None where the data knows objects only.
    """

    masks: Bool[np.ndarray, 'M H W']
    labels: Integer[np.ndarray, ' M']
    crowd: Bool[np.ndarray, ' M']
    void: Bool[np.ndarray, 'H W'] | None
    stuff: Bool[np.ndarray, ' M'] | None = None


def check_sources(mask_sources: Sequence[str]) -> list[str]:
    """Names of mask sources as a list.

    Raises:
        ValueError: If there is none, one is unknown, or results of two would have the same names.
    """
    # A single name would be read letter by letter.
    sources = [mask_sources] if isinstance(mask_sources, str) else list(mask_sources)
    if not sources or not set(sources) <= set(MASK_SOURCES):
        raise ValueError(f'mask_sources must be among {list(MASK_SOURCES)}, got {sources}')
    if len({MASK_SOURCES[source][1] for source in sources}) < len(sources):
        raise ValueError(
            f'results of mask_sources {sources} would have the same names; expected each once, and '
            "only one of 'decoder' and 'segmentor'"
        )
    return sources


def true_objects(sample: dict, stuff: bool = False) -> TrueObjects:
    """Ground truth of a sample.

    Args:
        sample: ``SlotDataSample`` as a dict.
        stuff: Whether the stuff segments of panoptic data are kept; else they are background.

    Returns:
        The annotated objects.

    Raises:
        ValueError: If it has none, or no masks.
    """
    objects = sample.get('gt_objects')
    if objects is None or 'masks' not in objects:
        raise ValueError(
            f'image {sample.get("img_id")!r} has no ground truth: the evaluation pipeline must '
            "pack 'gt_objects' (masks, labels, crowd)"
        )
    void = sample.get('gt_void')
    truth = TrueObjects(
        masks=array(field(objects, 'masks')).astype(bool, copy=False),
        labels=array(field(objects, 'labels')),
        crowd=array(field(objects, 'crowd')).astype(bool, copy=False),
        void=None if void is None else array(field(void, 'data')).astype(bool, copy=False)[0],
    )
    if 'stuff' not in objects:
        return truth
    flags = array(field(objects, 'stuff')).astype(bool, copy=False)
    kept = np.ones_like(flags) if stuff else ~flags
    return TrueObjects(
        truth.masks[kept], truth.labels[kept], truth.crowd[kept], truth.void, flags[kept]
    )


def predicted_map(sample: dict, source: str, protocol: MaskProtocol) -> Int64[np.ndarray, 'S S']:
    """Slot ids of a mask source under a protocol.

    Raises:
        ValueError: If the sample has no such masks, they are not finite, or the model was shown
            another part of the image than the protocol scores (samples need not say which).
    """
    img_id = sample.get('img_id')
    # Samples of generated images do not say what was shown.
    known = ('crop', 'frame') if 'crop' in sample else ()
    for name in known:
        shown, expected = sample.get(name), getattr(protocol, name)
        if expected is not None and shown != expected:
            raise ValueError(
                f'image {img_id!r} was shown with {name}={shown!r}, but protocol '
                f'{protocol.name!r} scores {name}={expected!r}; change the pipeline (ResizeCrop, '
                f'LoadImage) or the protocol, as in dict(name=..., {name}={shown!r})'
            )
    soft = soft_masks(sample, source)
    try:
        return protocol.prediction(soft)
    except ValueError as error:
        raise ValueError(f'{MASK_SOURCES[source][0]} of image {img_id!r}: {error}') from error


def check_annotations(protocol: MaskProtocol, dataset_meta: dict | None) -> None:
    """Refuse a data set that cannot tell background from what is not annotated.

    Raises:
        ValueError: If the protocol scores the background and the data set annotates objects only.
    """
    if protocol.complete and dataset_meta and not dataset_meta.get('complete', True):
        raise ValueError(
            f'protocol {protocol.name!r} scores the background, but {dataset_meta["dataset_type"]} '
            'annotates objects only: what is not annotated may be anything; use CocoPanoptic'
        )


def check_channels(
    samples: Sequence[dict], sources: Sequence[str], dataset_meta: dict | None
) -> None:
    """Refuse a segmentor with more or fewer channels than the data set has classes (or slots).

    mmsegmentation would leave the others out of its pictures.

    Raises:
        ValueError: If the numbers differ.
    """
    classes = (dataset_meta or {}).get('classes')
    if 'segmentor' not in sources or classes is None:
        return
    for sample in samples:
        found = len(soft_masks(sample, 'segmentor'))
        if found != len(classes):
            raise ValueError(
                f'the segmentor has {found} channels, but the data set has {len(classes)} classes; '
                'num_slots of SlotSegDataset must be that of the head '
                '(decode_head.slot_head.initializer.num_slots)'
            )


def field(element: Any, name: str) -> Any:
    """Field of a data element or of a dict."""
    return element[name] if isinstance(element, dict) else getattr(element, name)


def array(values: Any) -> np.ndarray:
    """A tensor of any device and type, or a list, as an array; half types become float32."""
    if not isinstance(values, torch.Tensor):
        values = np.asarray(values)
        return values.astype(np.float32) if values.dtype == np.float16 else values
    if values.is_floating_point() and values.dtype.itemsize < 4:
        values = values.float()
    return values.numpy(force=True)
