"""How well masks without labels find the annotated objects."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from mmocl.evaluation.functional import (
    adjusted_rand_index,
    contingency_table,
    iou_matrix,
    mean_best_overlap,
)
from mmocl.evaluation.metrics.sample import MASK_SOURCES, check_sources, soft_masks, true_objects
from mmocl.evaluation.protocols import TruthMaps, get_protocol
from mmocl.registry import METRICS


@METRICS.register_module()
class ObjectDiscoveryMetric(BaseMetric):
    """FG-ARI, ARI and mean best overlap of soft masks under a named protocol.

    Results lie in [0, 1] (ARI may fall below 0) and are means over images. For every mask source
    (``'attention'`` with the prefix ``attn_``):

    - ``fg_ari``: on the pixels of objects; ``fg_ari_multi``: the same on images with two or more
      objects left (an image with one object scores 0 or 1);
    - ``ari``: on all kept pixels, background included;
    - ``mbo_i``, ``mbo_c``: best overlap of instances and of classes.

    ``num_images``, ``num_images_mbo`` and ``num_images_multi`` say over how many images.

    Args:
        protocol: Name of a preset, see ``mmocl.evaluation.protocols``.
        mask_sources: Masks to score, ``'decoder'`` (``pred_masks``) or ``'attention'``
            (``pred_attn``) or both.
        record_path: JSON file for the scores of every image, for paired comparisons (None: none);
            skipped values are null.
        collect_device: Where results of several processes are gathered, ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the result names, instead of ``ocl``.

    Raises:
        ValueError: If the protocol or a mask source is unknown.
    """

    default_prefix = 'ocl'

    def __init__(
        self,
        protocol: str = 'spot320',
        mask_sources: Sequence[str] = ('decoder', 'attention'),
        record_path: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.mask_sources = check_sources(mask_sources)
        self.protocol = get_protocol(protocol)
        self.record_path = record_path

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Append one record per image.

        Args:
            data_batch: Unused.
            data_samples: ``SlotDataSample`` of every image as a dict, with ``gt_objects``, maybe
                ``gt_void``, and the masks of the sources.

        Raises:
            ValueError: If ground truth or masks are missing, or the masks are not finite.
        """
        for sample in data_samples:
            img_id = sample.get('img_id')
            objects = true_objects(sample)
            truth = self.protocol.ground_truth(
                objects.masks, objects.labels, objects.crowd, objects.void
            )
            record: dict[str, Any] = {'img_id': img_id, 'num_objects': truth.num_objects}
            for source in self.mask_sources:
                key, prefix = MASK_SOURCES[source]
                soft = soft_masks(sample, source)
                try:
                    pred = self.protocol.prediction(soft)
                except ValueError as error:
                    raise ValueError(f'{key} of image {img_id!r}: {error}') from error
                scores = self._scores(truth, pred)
                record |= {f'{prefix}{name}': value for name, value in scores.items()}
            self.results.append(record)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Average the records.

        Args:
            results: Records of all images.

        Returns:
            Means as floats (MMEngine writes integers as null); nan where no image counts.
        """
        metrics: dict[str, float] = {}
        for source in self.mask_sources:
            prefix = MASK_SOURCES[source][1]
            for name in ('fg_ari', 'fg_ari_multi', 'ari', 'mbo_i', 'mbo_c'):
                metrics[f'{prefix}{name}'] = _mean([r[f'{prefix}{name}'] for r in results])
        # Which images count depends on the ground truth alone, so any source tells.
        prefix = MASK_SOURCES[self.mask_sources[0]][1]
        metrics['num_images'] = float(len(results))
        metrics['num_images_mbo'] = _count([r[f'{prefix}mbo_i'] for r in results])
        metrics['num_images_multi'] = _count([r[f'{prefix}fg_ari_multi'] for r in results])

        num_fg_ari = _count([r[f'{prefix}fg_ari'] for r in results])
        MMLogger.get_current_instance().info(
            f'Object discovery, protocol {self.protocol.name} v{self.protocol.version}, values in '
            f'[0, 1]: {len(results)} images scored ({num_fg_ari:.0f} in fg_ari, '
            f'{metrics["num_images_mbo"]:.0f} in mbo, {metrics["num_images_multi"]:.0f} with '
            'several objects)'
        )
        if self.record_path is not None:
            self._write(results, Path(self.record_path))
        return metrics

    def evaluate(self, size: int) -> dict[str, float]:
        """Evaluate, after a check that every image of the dataset was scored once.

        Args:
            size: Length of the dataset.

        Returns:
            Results with the prefix.

        Raises:
            ValueError: On one process, if the number of records is not ``size``. (With several,
                samplers pad and MMEngine cuts; ``num_images`` tells.)
        """
        num_scored = len(self.results)
        if get_world_size() == 1 and num_scored != size:
            self.results.clear()
            raise ValueError(f'{num_scored} images were scored, but the dataset holds {size}')
        return super().evaluate(size)

    def _scores(self, truth: TruthMaps, pred: Int64[np.ndarray, 'S S']) -> dict[str, float]:
        """Scores of one image and mask source; nan where the image does not count."""
        counts, ids, _ = contingency_table(truth.instances, pred, ignore=-1)
        objects = ids > 0
        fg_ari = adjusted_rand_index(counts[objects])
        class_counts, class_ids, _ = contingency_table(truth.classes, pred, ignore=-1)
        return {
            'fg_ari': fg_ari if self.protocol.scores_fg_ari(truth) else float('nan'),
            'fg_ari_multi': fg_ari if objects.sum() > 1 else float('nan'),
            'ari': adjusted_rand_index(counts),
            'mbo_i': mean_best_overlap(iou_matrix(counts)[objects]),
            'mbo_c': mean_best_overlap(iou_matrix(class_counts)[class_ids > 0]),
        }

    def _write(self, results: list, path: Path) -> None:
        """Write the records, with null for nan, which JSON does not know."""
        images = [{k: None if v != v else v for k, v in record.items()} for record in results]
        content = {
            'protocol': self.protocol.name,
            'version': self.protocol.version,
            'images': images,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, allow_nan=False))


def _count(values: list[float]) -> float:
    return float(np.count_nonzero(~np.isnan(np.array(values, np.float64))))


def _mean(values: list[float]) -> float:
    """Mean without nan; nan, without numpy's warning, if nothing is left."""
    scores = np.array(values, np.float64)
    scores = scores[~np.isnan(scores)]
    return float(scores.mean()) if scores.size else float('nan')
