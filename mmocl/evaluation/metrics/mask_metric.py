"""What metrics of soft masks have in common: sources, a protocol, records and their means."""

import json
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Int64
from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from mmocl.evaluation.mask_scores import Score
from mmocl.evaluation.metrics.record import Column, write_record
from mmocl.evaluation.metrics.sample import (
    TrueObjects,
    check_annotations,
    check_channels,
    check_sources,
    predicted_map,
    true_objects,
)
from mmocl.evaluation.protocols import TruthMaps, get_protocol
from mmocl.structures import MASK_SOURCES, soft_masks


class MaskMetric(BaseMetric):
    """Scores of every image and mask source under a named protocol, and their means.

    A subclass names its ``scores`` and computes them for an image. Results are the means, for the
    source ``'attention'`` with the prefix ``attn_``, and ``num_images``.

    Args:
        scores: Names of the scores of an image.
        protocol: Name of a preset, see ``mmocl.evaluation.protocols``, or a dict of its ``name``
            and of switches to change.
        mask_sources: Masks to score: ``'decoder'`` (``pred_masks``), ``'attention'``
            (``pred_attn``) or both, or in a run of mmsegmentation ``'segmentor'``
            (``seg_logits``).
        record_path: JSON file for means with bootstrap intervals, and the scores of every image for
            paired comparisons (None: none); undefined values are null.
        collect_device: Where results of several processes are gathered, ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the result names.

    Raises:
        ValueError: If the protocol or a mask source is unknown.
    """

    def __init__(
        self,
        scores: Sequence[str],
        protocol: str | dict[str, Any],
        mask_sources: Sequence[str],
        record_path: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.scores = tuple(scores)
        self.protocol = get_protocol(protocol)
        self.mask_sources = check_sources(mask_sources)
        self.record_path = record_path

    @abstractmethod
    def draw(self, objects: TrueObjects) -> TruthMaps:
        """Ground truth of an image under the protocol."""

    @abstractmethod
    def image_scores(
        self, truth: TruthMaps, pred: Int64[np.ndarray, 'S S'], num_slots: int
    ) -> dict[str, Score]:
        """Scores of an image and a mask source by name."""

    def facts(self) -> dict[str, Any]:
        """What decides the scores of a prediction; records that differ in it are incomparable."""
        return {
            'metric': type(self).__name__,
            'protocol': self.protocol.name,
            'version': self.protocol.version,
            'switches': asdict(self.protocol),
        }

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Append one record per image.

        Args:
            data_batch: Unused.
            data_samples: ``SlotDataSample`` of every image as a dict, with ``gt_objects``, maybe
                ``gt_void``, and the masks of the sources.

        Raises:
            ValueError: If ground truth or masks are missing, the masks are not finite, or the model
                was shown another part of the image than the protocol scores.
        """
        check_annotations(self.protocol, self.dataset_meta)
        check_channels(data_samples, self.mask_sources, self.dataset_meta)
        for sample in data_samples:
            truth = self.draw(true_objects(sample))
            record: dict[str, Any] = {
                'img_id': sample.get('img_id'),
                'num_objects': truth.num_objects,
                'shown': shown(sample),
                'weights': {},
            }
            for source in self.mask_sources:
                prefix = MASK_SOURCES[source][1]
                pred = predicted_map(sample, source, self.protocol)
                scores = self.image_scores(truth, pred, len(soft_masks(sample, source)))
                for name, (value, weight) in scores.items():
                    record[f'{prefix}{name}'] = value
                    record['weights'][f'{prefix}{name}'] = float(weight)
            self.results.append(record)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Average the records.

        Args:
            results: Records of all images.

        Returns:
            Means as floats (MMEngine writes integers as null); nan where no image counts.
        """
        metrics = {}
        for key in self._keys():
            values, weights = self._column(results, key)
            kept = ~np.isnan(values)
            # A mean of nothing is nan, without numpy's warning.
            total = weights[kept].sum()
            metrics[key] = float((values * weights)[kept].sum() / total) if total else float('nan')
        metrics['num_images'] = float(len(results))
        protocol = self.protocol
        MMLogger.get_current_instance().info(
            f'{type(self).__name__}, protocol {protocol.name} v{protocol.version}: {len(results)} '
            f'images scored, values in [0, 1], means over {protocol.average}s; published numbers '
            f'are those of {protocol.mask_source} masks'
        )
        self._warn_of_other_sizes(results)
        if self.record_path is not None:
            # Every way in which an image was shown to the model.
            header = {**self.facts(), 'shown': _distinct(record['shown'] for record in results)}
            columns = {key: self._column(results, key) for key in self._keys()}
            write_record(self.record_path, header, columns, results)
        return metrics

    def count(self, results: list, name: str) -> float:
        """Number of images that count in a score; the ground truth alone decides that."""
        return float((~np.isnan(self._column(results, self._keys(name)[0])[0])).sum())

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

    def _keys(self, *names: str) -> list[str]:
        """Keys of scores in records and results."""
        prefixes = [MASK_SOURCES[source][1] for source in self.mask_sources]
        return [f'{prefix}{name}' for prefix in prefixes for name in names or self.scores]

    def _column(self, results: list, key: str) -> Column:
        """A score of all images, and their weights in its mean."""
        values = np.array([record[key] for record in results], np.float64)
        if self.protocol.average == 'image':
            return values, np.ones(len(values))
        return values, np.array([record['weights'][key] for record in results], np.float64)

    def _warn_of_other_sizes(self, results: list) -> None:
        """Say it if published numbers are of larger or smaller images."""
        size = self.protocol.input_size
        seen = (record['shown']['size'] for record in results)
        sizes = {tuple(one) for one in seen if one is not None}
        if size is not None and sizes - {(size, size)}:
            MMLogger.get_current_instance().warning(
                f'published numbers of protocol {self.protocol.name} are of models that see '
                f'{size}x{size} pixels; this one saw {sorted(sizes)}'
            )


def shown(sample: dict) -> dict[str, Any]:
    """What the model saw of the image, as far as the sample says."""
    keys = {'crop': 'crop', 'size': 'img_shape', 'frame': 'frame'}
    return {name: sample.get(key) for name, key in keys.items()}


def _distinct(values: Iterable[Any]) -> list[Any]:
    return [json.loads(text) for text in sorted({json.dumps(value) for value in values})]
