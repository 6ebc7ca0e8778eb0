"""Slots as detections of objects, by the confidence of their masks."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from mmocl.evaluation.functional import (
    confidence_map,
    detection_scores,
    match_segments,
)
from mmocl.evaluation.metrics.sample import (
    check_annotations,
    check_sources,
    predicted_map,
    true_objects,
)
from mmocl.evaluation.protocols import get_protocol
from mmocl.registry import METRICS
from mmocl.structures import MASK_SOURCES, soft_masks

# Masks of half precision sum to one only about.
_TOLERANCE = 1e-2


@METRICS.register_module()
class SegmentationDetectionMetric(BaseMetric):
    """AP, PQ, F1, precision and recall of confident segments, over all images at once.

    Yang & Yang, `arXiv:2210.02324 <https://arxiv.org/abs/2210.02324>`_, whose scores BO-QSA reports
    too. A pixel belongs to its best slot if that one's mask exceeds ``confidence_threshold`` there,
    else to none. See :func:`~mmocl.evaluation.functional.match_segments` and
    :func:`~mmocl.evaluation.functional.detection_scores` for the rest, and for the deviations.
    Results lie in [0, 1], for every mask source (``'attention'`` with the prefix ``attn_``):

    - ``ap50`` (the number is ``iou_threshold`` in percent), ``pq``, ``f1``, ``precision``,
      ``recall``;
    - ``sc_image``, ``sc_dataset``: IoU of objects with their assigned segments;
    - ``arp``, ``arr``: adjusted Rand precision and recall, means over images, where background is a
      true segment and the pixels without a confident slot are a predicted one.

    ``num_images`` and ``num_objects`` say over how many.

    Args:
        protocol: A preset as ``ObjectDiscoveryMetric`` takes it; the pixels that its instance
            map ignores do not count on either side.
        mask_sources: Masks to score: ``'decoder'`` (``pred_masks``), ``'attention'``
            (``pred_attn``) or both, or in a run of mmsegmentation ``'segmentor'``
            (``seg_logits``).
        confidence_threshold: Mask value that a pixel's best slot must exceed.
        iou_threshold: Least IoU of a true positive, and of a segment with the background to be
            none.
        collect_device: Where results of several processes are gathered, ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the result names, instead of ``det``; two metrics need two.

    Raises:
        ValueError: If the protocol or a mask source is unknown, or a threshold is out of range.
    """

    default_prefix = 'det'

    def __init__(
        self,
        protocol: str | dict[str, Any] = 'square128',
        mask_sources: Sequence[str] = ('decoder', 'attention'),
        confidence_threshold: float = 0.5,
        iou_threshold: float = 0.5,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not 0 <= confidence_threshold < 1 or not 0 < iou_threshold <= 1:
            raise ValueError(
                'confidence_threshold must lie in [0, 1) and iou_threshold in (0, 1], got '
                f'{confidence_threshold} and {iou_threshold}'
            )
        self.mask_sources = check_sources(mask_sources)
        self.protocol = get_protocol(protocol)
        self.confidence_threshold = confidence_threshold
        self.iou_threshold = iou_threshold

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Append one record per image: the match of every mask source.

        Args:
            data_batch: Unused.
            data_samples: ``SlotDataSample`` of every image as a dict, with ``gt_objects``, maybe
                ``gt_void``, and the masks of the sources.

        Raises:
            ValueError: If ground truth or masks are missing, or the masks do not lie in [0, 1].
        """
        check_annotations(self.protocol, self.dataset_meta)
        for sample in data_samples:
            img_id = sample.get('img_id')
            objects = true_objects(sample)
            truth = self.protocol.ground_truth(
                objects.masks, objects.labels, objects.crowd, objects.void
            ).without_contested()
            record: dict[str, Any] = {'img_id': img_id}
            for source in self.mask_sources:
                pred = predicted_map(sample, source, self.protocol)
                soft = soft_masks(sample, source)
                low, high = float(soft.min()), float(soft.max())
                if low < -_TOLERANCE or high > 1 + _TOLERANCE:
                    raise ValueError(
                        f'{MASK_SOURCES[source][0]} of image {img_id!r}: values in [{low:g}, '
                        f'{high:g}] are no confidences, expected masks in [0, 1]'
                    )
                confidence = confidence_map(soft, pred.shape).numpy(force=True)
                record[source] = match_segments(
                    truth.instances,
                    np.where(confidence > self.confidence_threshold, pred, -1),
                    confidence,
                    background_iou=self.iou_threshold,
                )
            self.results.append(record)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Score all images together.

        Args:
            results: Records of all images.

        Returns:
            Values as floats (MMEngine writes integers as null); nan where they are 0 / 0.
        """
        metrics: dict[str, float] = {}
        for source in self.mask_sources:
            prefix = MASK_SOURCES[source][1]
            matches = [record[source] for record in results]
            scores = asdict(detection_scores(matches, self.iou_threshold))
            scores[f'ap{100 * self.iou_threshold:g}'] = scores.pop('ap')
            metrics |= {f'{prefix}{name}': value for name, value in scores.items()}
        metrics['num_images'] = float(len(results))
        # The same for every source.
        metrics['num_objects'] = float(sum(len(match.true_iou) for match in matches))
        MMLogger.get_current_instance().info(
            f'Segments as detections, protocol {self.protocol.name} v{self.protocol.version}, '
            f'values in [0, 1]: {len(results)} images, {metrics["num_objects"]:.0f} objects'
        )
        return metrics
