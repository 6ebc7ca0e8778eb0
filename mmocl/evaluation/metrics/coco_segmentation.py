"""Average precision and recall of slot masks as COCO defines them, without classes."""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from mmocl.evaluation.functional import confidence_map
from mmocl.evaluation.metrics.sample import (
    TrueObjects,
    check_annotations,
    check_sources,
    predicted_map,
    true_objects,
)
from mmocl.evaluation.protocols import get_protocol
from mmocl.registry import METRICS
from mmocl.structures import MASK_SOURCES, soft_masks


@METRICS.register_module()
class CocoSegmentationMetric(BaseMetric):
    """Class-agnostic average precision and recall of slot masks by pycocotools' own evaluator.

    Every slot that wins a pixel is a prediction: its pixels are those where it is the best slot,
    its score is the mean value of its soft mask over them. All slots count, so the background's
    slot is a false positive in nearly every image, and a perfect model stays below 1.

    Scored on the square of the protocol, not at the resolution of the file. Objects may overlap, as
    in COCO (the other metrics ignore such pixels), and crowds are COCO's crowds, which a prediction
    may meet without being scored, whatever the protocol says. Its void pixels belong to nothing.

    Results lie in [0, 1], for every mask source (``'attention'`` with the prefix ``attn_``), nan
    where there is no such object:

    - ``ap``: mean over IoU thresholds 0.5, 0.55, ..., 0.95; ``ap50`` and ``ap75`` at one of them;
    - ``ap_small``, ``ap_medium``, ``ap_large``: of objects below 32^2, up to 96^2 and above 96^2
      pixels *of the square*, which other objects than in COCO's files are;
    - ``ar_1``, ``ar_10``, ``ar_100``: recall with so many predictions an image, mean over the same
      IoU thresholds.

    ``num_images`` and ``num_objects`` (without crowds) say over how many.

    Args:
        protocol: A preset as ``ObjectDiscoveryMetric`` takes it.
        mask_sources: Masks to score: ``'decoder'`` (``pred_masks``), ``'attention'``
            (``pred_attn``) or both, or in a run of mmsegmentation ``'segmentor'``
            (``seg_logits``).
        max_dets: Numbers of most confident predictions an image that recall is measured with; the
            largest one is the limit of everything else.
        collect_device: Where results of several processes are gathered, ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the result names, instead of ``coco``; two metrics need two.

    Raises:
        ValueError: If the protocol or a mask source is unknown, or ``max_dets`` are not positive.
    """

    default_prefix = 'coco'

    def __init__(
        self,
        protocol: str | dict[str, Any] = 'spot320',
        mask_sources: Sequence[str] = ('decoder', 'attention'),
        max_dets: Sequence[int] = (1, 10, 100),
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not max_dets or min(max_dets) < 1:
            raise ValueError(f'max_dets must be positive, one at least, got {list(max_dets)}')
        self.mask_sources = check_sources(mask_sources)
        self.protocol = get_protocol(protocol)
        self.max_dets = sorted(set(max_dets))

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Append one record per image: compressed masks, crowd flags and scores.

        Args:
            data_batch: Unused.
            data_samples: ``SlotDataSample`` of every image as a dict, with ``gt_objects``, maybe
                ``gt_void``, and the masks of the sources.

        Raises:
            ValueError: If ground truth or masks are missing, or the masks are not finite.
        """
        check_annotations(self.protocol, self.dataset_meta)
        for sample in data_samples:
            img_id = sample.get('img_id')
            masks, crowd, kept = self._truth(true_objects(sample))
            record: dict[str, Any] = {'img_id': img_id, 'true': _encode(masks), 'crowd': crowd}
            for source in self.mask_sources:
                pred = predicted_map(sample, source, self.protocol)
                record[source] = _detections(pred, soft_masks(sample, source), kept)
            self.results.append(record)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Run COCO's evaluation on the records.

        Args:
            results: Records of all images.

        Returns:
            Values as floats (MMEngine writes integers as null); nan without any such object.
        """
        truth = [
            {'image_id': i, 'segmentation': mask, 'iscrowd': int(crowd)}
            for i, record in enumerate(results)
            for mask, crowd in zip(record['true'], record['crowd'], strict=True)
        ]
        metrics: dict[str, float] = {}
        for source in self.mask_sources:
            found = [
                {'image_id': i, 'segmentation': mask, 'iscrowd': 0, 'score': float(score)}
                for i, record in enumerate(results)
                for mask, score in zip(*record[source], strict=True)
            ]
            scores = self._evaluate(truth, found, len(results))
            prefix = MASK_SOURCES[source][1]
            metrics |= {f'{prefix}{name}': value for name, value in scores.items()}
        metrics['num_images'] = float(len(results))
        metrics['num_objects'] = float(sum(not one['iscrowd'] for one in truth))
        return metrics

    def _truth(
        self, objects: TrueObjects
    ) -> tuple[Bool[np.ndarray, 'M S S'], Bool[np.ndarray, ' M'], Bool[np.ndarray, 'S S']]:
        """Masks and crowd flags of the objects in the square, and its pixels that count."""
        masks = self.protocol.resize(objects.masks)
        kept = np.ones((self.protocol.mask_size,) * 2, dtype=bool)
        if objects.void is not None and self.protocol.void != 'unread':
            void = self.protocol.resize(objects.void)
            masks = masks & ~void
            if self.protocol.void != 'background':
                kept = ~void
        seen = masks.any(axis=(1, 2))
        return masks[seen], objects.crowd[seen], kept

    def _evaluate(self, truth: list[dict], found: list[dict], num_images: int) -> dict[str, float]:
        """Scores of one mask source."""
        output = io.StringIO()
        with redirect_stdout(output):
            both = (_coco(one, num_images, self.protocol.mask_size) for one in (truth, found))
            coco = COCOeval(*both, 'segm')
            coco.params.useCats = 0
            coco.params.maxDets = self.max_dets
            coco.evaluate()
            coco.accumulate()
        MMLogger.get_current_instance().info(
            f'COCOeval, class-agnostic, protocol {self.protocol.name} v{self.protocol.version}: '
            + ' '.join(output.getvalue().split())
        )
        # Axes: IoU thresholds, recall thresholds, class, area, number of predictions. Its
        # ``summarize`` looks for 100 predictions whatever the parameters are.
        precision, recall = coco.eval['precision'][..., 0, :, -1], coco.eval['recall'][:, 0, 0]
        threshold = coco.params.iouThrs.round(2).tolist()
        scores = {
            'ap': precision[..., 0],
            'ap50': precision[threshold.index(0.5), :, 0],
            'ap75': precision[threshold.index(0.75), :, 0],
        }
        for area, name in enumerate(coco.params.areaRngLbl[1:], start=1):
            scores[f'ap_{name}'] = precision[..., area]
        for column, number in enumerate(self.max_dets):
            scores[f'ar_{number}'] = recall[:, column]
        # It marks by -1 that there is no object.
        return {
            name: float(values.mean()) if (values >= 0).all() else float('nan')
            for name, values in scores.items()
        }


def _detections(
    pred: Int64[np.ndarray, 'S S'], soft: Float[Tensor, 'K h w'], kept: Bool[np.ndarray, 'S S']
) -> tuple[list[dict], Float[np.ndarray, ' P']]:
    """Masks of the slots that have a kept pixel, and their scores."""
    confidence = confidence_map(soft, pred.shape).numpy(force=True)
    sizes = np.bincount(pred[kept], minlength=len(soft))
    sums = np.bincount(pred[kept], weights=confidence[kept], minlength=len(soft))
    ids = np.flatnonzero(sizes)
    return _encode((pred == ids[:, None, None]) & kept), sums[ids] / sizes[ids]


def _encode(masks: Bool[np.ndarray, 'M S S']) -> list[dict]:
    """Compress masks; pycocotools wants the last axis to be theirs, in Fortran order."""
    return coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8))


def _coco(annotations: list[dict], num_images: int, size: int) -> COCO:
    """An index of annotations as if it were read from a file."""
    coco = COCO()
    coco.dataset = {
        'images': [{'id': i, 'height': size, 'width': size} for i in range(num_images)],
        'categories': [{'id': 1}],
        # Ids from 1: to the evaluator, 0 is no match.
        'annotations': [
            {**one, 'id': i, 'category_id': 1, 'area': float(coco_mask.area(one['segmentation']))}
            for i, one in enumerate(annotations, start=1)
        ],
    }
    coco.createIndex()
    return coco
