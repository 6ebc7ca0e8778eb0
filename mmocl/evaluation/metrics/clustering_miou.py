"""How well clusters of slots, over a whole data set, agree with the classes of objects."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from mmocl.evaluation.functional import clustering_iou, contingency_table
from mmocl.evaluation.functional.clustering_iou import check_clustering
from mmocl.evaluation.metrics.sample import (
    array,
    check_annotations,
    check_sources,
    predicted_map,
    true_objects,
)
from mmocl.evaluation.protocols import get_protocol
from mmocl.registry import METRICS
from mmocl.require_module import require_module
from mmocl.structures import soft_masks


@METRICS.register_module()
class ClusteringMiouMetric(BaseMetric):
    """Mean IoU of classes with clusters of slots: unsupervised semantic segmentation.

    All slots of the data set that win a pixel are clustered by k-means, each pixel gets the cluster
    of its slot, and clusters are named after classes with the ground truth of the whole data set;
    see :func:`~mmocl.evaluation.functional.clustering_iou`. Results lie in [0, 1]:

    - ``miou``: mean over the classes that occur, background included unless it is ignored;
    - ``miou_objects``: the same without the background;
    - ``accuracy``: share of the pixels with the right class.

    ``num_images``, ``num_slots`` and ``num_classes`` say over how many.

    Args:
        num_clusters: Number of clusters.
        matching: ``'hungarian'`` or ``'majority'``.
        background: ``'class'``, ``'unmatched'`` or ``'ignore'``.
        protocol: A preset as ``ObjectDiscoveryMetric`` takes it; pixels that its class map
            ignores do not count.
        mask_source: Masks to score, ``'decoder'`` (``pred_masks``) or ``'attention'``
            (``pred_attn``).
        normalize: Scale slots to length 1 before they are clustered.
        num_starts: Number of k-means++ starts; the tightest clustering is taken.
        seed: Seed of the starts.
        collect_device: Where results of several processes are gathered, ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the result names, instead of ``cluster``; two metrics need two.

    Raises:
        ImportError: If scikit-learn is missing.
        ValueError: If an option or the protocol is unknown, or there is no cluster or start.
    """

    default_prefix = 'cluster'

    def __init__(
        self,
        num_clusters: int,
        matching: str = 'hungarian',
        background: str = 'class',
        protocol: str | dict[str, Any] = 'spot320',
        mask_source: str = 'decoder',
        normalize: bool = False,
        num_starts: int = 3,
        seed: int = 0,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        check_clustering(matching, background)
        if num_clusters < 1 or num_starts < 1:
            raise ValueError(
                f'num_clusters and num_starts must be positive, got {num_clusters} and {num_starts}'
            )
        # Before hours of inference, not after.
        require_module('sklearn.cluster', 'evaluation')
        self.num_clusters = num_clusters
        self.matching = matching
        self.background = background
        self.protocol = get_protocol(protocol)
        (self.mask_source,) = check_sources([mask_source])
        self.normalize = normalize
        self.num_starts = num_starts
        self.seed = seed

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Append one record per image: slots, and their pixels on every category.

        Args:
            data_batch: Unused.
            data_samples: ``SlotDataSample`` of every image as a dict, with ``gt_objects``, maybe
                ``gt_void``, ``pred_slots`` and the masks.

        Raises:
            ValueError: If ground truth, slots or masks are missing or not finite.
        """
        check_annotations(self.protocol, self.dataset_meta)
        for sample in data_samples:
            img_id = sample.get('img_id')
            classes, categories = self._truth(sample)
            pred = predicted_map(sample, self.mask_source, self.protocol)
            counts, class_ids, slot_ids = contingency_table(classes, pred, ignore=-1)
            slots = self._slots(sample, len(soft_masks(sample, self.mask_source)))[slot_ids]
            background, objects = counts[class_ids == 0], counts[class_ids > 0]
            self.results.append(
                {
                    'img_id': img_id,
                    'slots': slots,
                    'background': background.sum(axis=0),
                    'categories': categories[class_ids[class_ids > 0] - 1],
                    'objects': objects,
                }
            )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Cluster the slots of all images and score the classes.

        Args:
            results: Records of all images.

        Returns:
            Values as floats (MMEngine writes integers as null); nan where nothing is scored.

        Raises:
            ValueError: If there are fewer slots than clusters.
        """
        slots = np.concatenate([record['slots'] for record in results])
        categories = np.unique(np.concatenate([record['categories'] for record in results]))
        clusters = self._cluster(slots)
        counts = np.zeros((self.num_clusters, 1 + len(categories)), np.int64)
        ends = np.cumsum([len(record['slots']) for record in results])
        for record, own in zip(results, np.split(clusters, ends[:-1]), strict=True):
            columns = 1 + np.searchsorted(categories, record['categories'])
            np.add.at(counts[:, 0], own, record['background'])
            np.add.at(counts, (own, columns[:, None]), record['objects'])
        scores = clustering_iou(counts, self.matching, self.background)
        MMLogger.get_current_instance().info(
            f'Clustering of slots, protocol {self.protocol.name} v{self.protocol.version}, values '
            f'in [0, 1]: {len(slots)} slots of {len(results)} images, {self.num_clusters} clusters'
        )
        return {
            'miou': _mean(scores.iou),
            'miou_objects': _mean(scores.iou[1:]),
            'accuracy': scores.accuracy,
            'num_images': float(len(results)),
            'num_slots': float(len(slots)),
            'num_classes': float(np.count_nonzero(~np.isnan(scores.iou))),
        }

    def _truth(self, sample: dict) -> tuple[np.ndarray, np.ndarray]:
        """Class map of the image, and the category of each class id, from 1.

        The protocol counts the classes of an image in the order of their categories, which other
        images do not share.
        """
        objects = true_objects(sample)
        truth = self.protocol.ground_truth(
            objects.masks, objects.labels, objects.crowd, objects.void
        ).without_contested()
        return truth.classes, np.unique(objects.labels[self.protocol.is_object(objects.crowd)])

    def _slots(self, sample: dict, num_masks: int) -> np.ndarray:
        """Slots (K, D) of the image."""
        img_id = sample.get('img_id')
        if 'pred_slots' not in sample:
            raise ValueError(
                f"the prediction of image {img_id!r} has no 'pred_slots', which are clustered"
            )
        slots = array(sample['pred_slots']['slots'])
        if len(slots) != num_masks:
            raise ValueError(f'image {img_id!r} has {len(slots)} slots, but {num_masks} masks')
        if not np.isfinite(slots).all():
            raise ValueError(f'slots of image {img_id!r} hold NaN or infinite values')
        return slots

    def _cluster(self, slots: np.ndarray) -> np.ndarray:
        """Cluster (N,) of every slot (N, D)."""
        if len(slots) < self.num_clusters:
            raise ValueError(
                f'num_clusters={self.num_clusters} needs as many slots, but only {len(slots)} win '
                'a pixel'
            )
        if self.normalize:
            length = np.linalg.norm(slots, axis=1, keepdims=True)
            slots = slots / np.maximum(length, np.finfo(np.float32).tiny)
        kmeans = require_module('sklearn.cluster', 'evaluation').KMeans(
            self.num_clusters, n_init=self.num_starts, random_state=self.seed
        )
        return kmeans.fit_predict(slots)


def _mean(values: np.ndarray) -> float:
    """Mean without nan; nan, without numpy's warning, if nothing is left."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float('nan')
