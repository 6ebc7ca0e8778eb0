"""How well masks without labels part an image into things and stuff."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64
from mmengine.evaluator import BaseMetric

from mmocl.evaluation.functional import match_panoptic, panoptic_ari, panoptic_quality
from mmocl.evaluation.functional.panoptic import CROWD, VOID
from mmocl.evaluation.metrics.sample import (
    TrueObjects,
    check_sources,
    predicted_map,
    true_objects,
)
from mmocl.evaluation.protocols import get_protocol
from mmocl.registry import METRICS
from mmocl.structures import MASK_SOURCES

KINDS = ('things', 'stuff')


@METRICS.register_module()
class PanopticMetric(BaseMetric):
    """Panoptic ARI and class-agnostic panoptic quality of soft masks.

    Ground truth are things and stuff segments, as of ``CocoPanoptic``. Slots have no classes, so
    that all segments form one class of panoptic quality (Kirillov et al., 2019, `arXiv:1801.00868
    <https://arxiv.org/abs/1801.00868>`_), with the rules of its released code for void pixels and
    crowds. FT-DINOSAUR reports panoptic ARI and PQ too, but no code of them is public: numbers are
    not claimed to be comparable.

    Results lie in [0, 1] (ARI may fall below 0). For every mask source (``'attention'`` with the
    prefix ``attn_``):

    - ``ari``: over all annotated pixels, every thing and stuff segment a true cluster; crowd and
      unlabelled pixels are left out; mean over images;
    - ``pq``, ``sq``, ``rq``: panoptic, segmentation and recognition quality of the counts pooled
      over all images;
    - ``sq_things``, ``sq_stuff``: mean IoU of the matched segments of a kind (0 without a match);
      ``recall_things``, ``recall_stuff``: share of them that is matched. A PQ by kind does not
      exist, since a wrong slot is of no kind.

    ``num_images_ari`` says over how many of the ``num_images`` images ``ari`` is averaged: those
    with an annotated pixel.

    Args:
        protocol: A preset, as ``ObjectDiscoveryMetric`` takes it, which says which square is scored
            and at which size. Its rules for crowds, void and overlap do not apply.
        mask_sources: Masks to score: ``'decoder'`` (``pred_masks``), ``'attention'``
            (``pred_attn``) or both, or in a run of mmsegmentation ``'segmentor'``
            (``seg_logits``).
        collect_device: Where results of several processes are gathered, ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the result names, instead of ``panoptic``.

    Raises:
        ValueError: If the protocol or a mask source is unknown.
    """

    default_prefix = 'panoptic'

    def __init__(
        self,
        protocol: str | dict[str, Any] = 'spot320',
        mask_sources: Sequence[str] = ('decoder', 'attention'),
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.mask_sources = check_sources(mask_sources)
        self.protocol = get_protocol(protocol)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Append one record per image.

        Args:
            data_batch: Unused.
            data_samples: ``SlotDataSample`` of every image as a dict, with ``gt_objects`` of
                panoptic data, maybe ``gt_void``, and the masks of the sources.

        Raises:
            ValueError: If ground truth or masks are missing, the ground truth is not panoptic, or
                the masks are not finite.
        """
        for sample in data_samples:
            img_id = sample.get('img_id')
            objects = true_objects(sample, stuff=True)
            if objects.stuff is None:
                raise ValueError(
                    f'image {img_id!r} has no panoptic ground truth: gt_objects lack '
                    "'stuff'; expected a dataset such as CocoPanoptic"
                )
            true = self.protocol.resize(segment_map(objects))
            record: dict[str, Any] = {'img_id': img_id}
            for source in self.mask_sources:
                prefix = MASK_SOURCES[source][1]
                pred = predicted_map(sample, source, self.protocol)
                match = match_panoptic(true, pred)
                record[f'{prefix}ari'] = panoptic_ari(true, pred)
                record[f'{prefix}spurious'] = match.num_spurious
                is_stuff = objects.stuff[match.true_ids - 1]
                for kind, flag in zip(KINDS, (False, True), strict=True):
                    iou = match.iou[is_stuff == flag]
                    record[f'{prefix}{kind}'] = (float(iou.sum()), int((iou > 0).sum()), len(iou))
            self.results.append(record)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Pool the records, and average ARI.

        Args:
            results: Records of all images.

        Returns:
            Values as floats (MMEngine writes integers as null); nan where nothing counts.
        """
        metrics: dict[str, float] = {'num_images': float(len(results))}
        for source in self.mask_sources:
            prefix = MASK_SOURCES[source][1]
            ari = np.array([record[f'{prefix}ari'] for record in results], np.float64)
            ari = ari[~np.isnan(ari)]
            # Which images count depends on the ground truth alone.
            metrics['num_images_ari'] = float(len(ari))
            metrics[f'{prefix}ari'] = float(ari.mean()) if len(ari) else float('nan')
            # Rows: things, stuff; columns: sum of IoU, matched and all segments.
            sums = np.array([[r[f'{prefix}{kind}'] for kind in KINDS] for r in results], np.float64)
            sums = sums.reshape(-1, 2, 3).sum(axis=0)
            iou_sum, matched, total = sums.sum(axis=0)
            spurious = sum(record[f'{prefix}spurious'] for record in results)
            quality = panoptic_quality(float(iou_sum), int(matched), int(total - matched), spurious)
            metrics |= {f'{prefix}{name}': getattr(quality, name) for name in ('pq', 'sq', 'rq')}
            for kind, (kind_iou, kind_matched, kind_total) in zip(KINDS, sums, strict=True):
                exists = bool(kind_total)
                metrics[f'{prefix}sq_{kind}'] = (
                    float(kind_iou / max(kind_matched, 1)) if exists else float('nan')
                )
                metrics[f'{prefix}recall_{kind}'] = (
                    float(kind_matched / kind_total) if exists else float('nan')
                )
        return metrics


def segment_map(objects: TrueObjects) -> Int64[np.ndarray, 'H W']:
    """Draw annotations as a panoptic map: ids 1, 2, ... in the order of ``masks``.

    Pixels without any segment are void, and so are those of two segments, which panoptic data does
    not have.

    Args:
        objects: Annotations with all their segments.

    Returns:
        True map as ``match_panoptic`` takes it.
    """
    ids = np.full(objects.masks.shape[1:], VOID, np.int64)
    for index, (mask, crowd) in enumerate(zip(objects.masks, objects.crowd, strict=True), start=1):
        ids[mask] = CROWD if crowd else index
    ids[objects.masks.sum(axis=0) > 1] = VOID
    if objects.void is not None:
        ids[objects.void] = VOID
    return ids
