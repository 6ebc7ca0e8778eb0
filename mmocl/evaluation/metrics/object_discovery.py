"""How well masks without labels find the annotated objects."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from mmocl.evaluation.mask_scores import SCORES, MaskScores, Score
from mmocl.evaluation.metrics.mask_metric import MaskMetric
from mmocl.evaluation.metrics.sample import TrueObjects
from mmocl.evaluation.protocols import TruthMaps
from mmocl.registry import METRICS

_DEFAULT = ('fg_ari', 'fg_ari_multi', 'ari', 'mbo_i', 'mbo_c', 'miou', 'corloc', 'recall')


@METRICS.register_module()
class ObjectDiscoveryMetric(MaskMetric):
    """FG-ARI, mean best overlap and their relatives under a named protocol.

    Results are means in [0, 1] (ARI may fall below 0) for every mask source, ``'attention'`` with
    the prefix ``attn_``; what the scores are, and which there are, is said in
    :class:`~mmocl.evaluation.mask_scores.MaskScores`. ``num_images``, ``num_images_mbo`` and
    ``num_images_multi`` say over how many images.

    Args:
        protocol: Name of a preset, see ``mmocl.evaluation.protocols``, or a dict of its ``name``
            and of switches to change: ``dict(name='spot320', average='object')``.
        mask_sources: Masks to score: ``'decoder'`` (``pred_masks``), ``'attention'``
            (``pred_attn``) or both, or in a run of mmsegmentation ``'segmentor'``
            (``seg_logits``).
        scores: Names of scores; box scores and segmentation coverings are there but not in the
            default.
        record_path: JSON file for means with 95 % bootstrap intervals over images, and the scores
            of every image, for paired comparisons (None: none); undefined values are null.
        collect_device: Where results of several processes are gathered, ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the result names, instead of ``ocl``; two metrics need two.

    Raises:
        ValueError: If the protocol, a switch, a mask source or a score is unknown.
    """

    default_prefix = 'ocl'

    def __init__(
        self,
        protocol: str | dict[str, Any] = 'spot320',
        mask_sources: Sequence[str] = ('decoder', 'attention'),
        scores: Sequence[str] = _DEFAULT,
        record_path: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        if isinstance(scores, str):
            scores = [scores]  # It would be read letter by letter.
        if not scores or not set(scores) <= set(SCORES):
            raise ValueError(f'scores must be among {list(SCORES)}, got {list(scores)}')
        super().__init__(scores, protocol, mask_sources, record_path, collect_device, prefix)

    def draw(self, objects: TrueObjects) -> TruthMaps:
        """Ground truth of an image under the protocol."""
        return self.protocol.ground_truth(
            objects.masks, objects.labels, objects.crowd, objects.void
        )

    def image_scores(
        self, truth: TruthMaps, pred: Int64[np.ndarray, 'S S'], num_slots: int
    ) -> dict[str, Score]:
        """Scores of an image and a mask source by name."""
        scores = MaskScores(truth, pred, self.protocol)
        return {name: scores.of(name) for name in self.scores}

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Average the records.

        Args:
            results: Records of all images.

        Returns:
            Means as floats (MMEngine writes integers as null); nan where no image counts.
        """
        metrics = super().compute_metrics(results)
        for name, score in (('mbo', 'mbo_i'), ('multi', 'fg_ari_multi')):
            if score in self.scores:
                metrics[f'num_images_{name}'] = self.count(results, score)
        return metrics
