"""Signs that slots do not bind to objects; none of them needs ground truth."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from torch import Tensor
from torch.nn import functional

from mmocl.evaluation.functional import (
    image_collapse,
    mask_consistency,
    pixel_shares,
    shuffled_pixels,
    standard_masks,
)
from mmocl.evaluation.metrics.sample import array, check_sources
from mmocl.registry import METRICS
from mmocl.structures import MASK_SOURCES, soft_masks


@METRICS.register_module()
class CollapseMetric(BaseMetric):
    """Dead slots, overlap, entropy and position-only masks, without ground truth.

    For every mask source (``'attention'`` with the prefix ``attn_``), over the active slots:

    ===================== ====================================== ===================================
    result                what it is                             collapse looks like
    ===================== ====================================== ===================================
    ``dead``              slots that win no pixel of an image    near 1; more slots than objects
                                                                 give some even in a good model
    ``dead_always``       slot indices that win none anywhere    above 0: learned slots out of use
    ``faint``             slots with little of the mass          as ``dead``
    ``largest``           pixels that the largest slot wins      near 1: one slot takes all
    ``effective_slots``   K to the power of ``usage_entropy``    near 1 (one slot takes all)
    ``usage_entropy``     entropy of the slots' mass, / log K    near 0 (one takes all); near 1 is
                                                                 all slots alike, or equal objects
    ``mask_entropy``      entropy over slots at a pixel, / log K near 1: no slot claims anything
    ``overlap_iou``       soft IoU of pairs of masks             near 1: all masks are the same
    ``overlap_cosine``    cosine of the most similar masks       near 1: two slots share a mask
    ``peak_overlap``      images where two masks peak at a pixel near 1: as above
    ``position``          correlation of masks across images,    near 1: masks ignore the image;
                          slots matched                          some correlation is normal
    ``position_by_index`` the same by index, without matching    near 1; about 0 for random slots
    ``position_floor``    ``position`` after shuffling pixels    what matching alone reaches
    ===================== ====================================== ===================================

    ``slot_cosine`` is the mean cosine of two slot vectors of an image (near 1: all slots are the
    same), ``num_images`` the number of images. Values are in [0, 1] (correlations and cosines in
    [-1, 1]) but for ``effective_slots``, and means over the images where they are defined; nan if
    there are none, e.g. ``overlap_*`` if no image has two slots that are not faint.

    Args:
        mask_sources: Masks to look at: ``'decoder'`` (``pred_masks``), ``'attention'``
            (``pred_attn``) or both, or in a run of mmsegmentation ``'segmentor'``
            (``seg_logits``).
        mask_size: Side of the square that masks are resized to for the correlation across images.
        min_mass: Share of the mass of all masks below which a slot is faint; faint slots take no
            part in ``overlap_*`` and ``peak_overlap``.
        collect_device: Where results of several processes are gathered, ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the result names, instead of ``collapse``.

    Raises:
        ValueError: If a mask source is unknown, ``mask_size`` is below 2 or ``min_mass`` not in
            [0, 1).
    """

    default_prefix = 'collapse'

    def __init__(
        self,
        mask_sources: Sequence[str] = ('decoder', 'attention'),
        mask_size: int = 16,
        min_mass: float = 0.01,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.mask_sources = check_sources(mask_sources)
        if mask_size < 2:
            raise ValueError(f'mask_size must be at least 2, got {mask_size}')
        if not 0 <= min_mass < 1:
            raise ValueError(f'min_mass must be in [0, 1), got {min_mass}')
        self.mask_size = mask_size
        self.min_mass = min_mass

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Append one record per image.

        Args:
            data_batch: Unused.
            data_samples: ``SlotDataSample`` of every image as a dict, with the masks of the sources
                and, if the model gives them, ``pred_slots``.

        Raises:
            ValueError: If masks are missing, negative or not finite.
        """
        for sample in data_samples:
            predicted = sample.get('pred_slots', {})
            slots = array(predicted['slots']) if 'slots' in predicted else None
            active = array(predicted['active']) if 'active' in predicted else None
            record: dict[str, Any] = {'img_id': sample.get('img_id'), 'scores': {}}
            for source in self.mask_sources:
                key, prefix = MASK_SOURCES[source]
                masks = soft_masks(sample, source).float()
                flat = array(masks.flatten(1))
                try:
                    scores = image_collapse(flat, slots, active, self.min_mass)
                except ValueError as error:
                    raise ValueError(f'{key} of image {record["img_id"]!r}: {error}') from error
                # Of the slots, not of the masks.
                if 'slot_cosine' in scores:
                    record['scores']['slot_cosine'] = scores.pop('slot_cosine')
                record['scores'] |= {f'{prefix}{name}': value for name, value in scores.items()}
                record[source] = {
                    'active': np.ones(len(flat), bool) if active is None else active,
                    'wins': pixel_shares(flat) > 0,
                    # Of norm 1, so that half precision is enough.
                    'standard': standard_masks(self._resized(masks)).astype(np.float16),
                }
            self.results.append(record)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Average the records and compare masks across images.

        Args:
            results: Records of all images.

        Returns:
            Values as floats (MMEngine writes integers as null); nan where one is not defined.

        Raises:
            ValueError: If images differ in their number of slots.
        """
        names = list(results[0]['scores']) if results else []
        metrics = {name: _mean([record['scores'][name] for record in results]) for name in names}
        for source in self.mask_sources if results else []:
            prefix = MASK_SOURCES[source][1]
            records = [record[source] for record in results]
            counts = {len(record['wins']) for record in records}
            if len(counts) > 1:
                raise ValueError(
                    f'masks can be compared across images with one number of slots only, got '
                    f'{sorted(counts)} in {MASK_SOURCES[source][0]}'
                )
            active = np.any([record['active'] for record in records], axis=0)
            wins = np.any([record['wins'] for record in records], axis=0)
            metrics[f'{prefix}dead_always'] = float((~wins)[active].mean())
            masks = np.stack([record['standard'] for record in records]).astype(np.float32)
            metrics[f'{prefix}position'] = mask_consistency(masks)
            metrics[f'{prefix}position_by_index'] = mask_consistency(masks, match=False)
            metrics[f'{prefix}position_floor'] = mask_consistency(shuffled_pixels(masks))
        return {**metrics, 'num_images': float(len(results))}

    def _resized(self, masks: Tensor) -> np.ndarray:
        """Masks (K, mask_size * mask_size)."""
        size = (self.mask_size, self.mask_size)
        small = functional.interpolate(masks[None], size, mode='bilinear', antialias=True)[0]
        return array(small.flatten(1))


def _mean(values: list[float]) -> float:
    """Mean without nan; nan, without numpy's warning, if nothing is left."""
    scores = np.array(values, np.float64)
    scores = scores[~np.isnan(scores)]
    return float(scores.mean()) if scores.size else float('nan')
