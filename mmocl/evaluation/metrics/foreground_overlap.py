"""How well the best slot of an image extracts its foreground."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from jaxtyping import Int64

from mmocl.evaluation.functional import best_foreground_overlap
from mmocl.evaluation.functional.foreground import CHOICES
from mmocl.evaluation.mask_scores import Score
from mmocl.evaluation.metrics.mask_metric import MaskMetric
from mmocl.evaluation.metrics.sample import TrueObjects
from mmocl.evaluation.protocols import TruthMaps
from mmocl.registry import METRICS


@METRICS.register_module()
class ForegroundMetric(MaskMetric):
    """IoU and Dice score of the best slot with the foreground, the union of all objects.

    Foreground extraction of BO-QSA, `arXiv:2210.08990 <https://arxiv.org/abs/2210.08990>`_, where
    the ground truth chooses the best slot. Deviations: pixels without annotation are left out, and
    so are images without foreground.

    Results lie in [0, 1] and are means over images, for every mask source (``'attention'`` with the
    prefix ``attn_``). ``num_images_fg`` says over how many, of ``num_images``.

    Args:
        protocol: A preset, as ``ObjectDiscoveryMetric`` takes it. It says which square is scored,
            at which size, and what crowds are; void pixels are always ignored.
        mask_sources: Masks to score: ``'decoder'`` (``pred_masks``), ``'attention'``
            (``pred_attn``) or both, or in a run of mmsegmentation ``'segmentor'``
            (``seg_logits``).
        best: What the best slot has most of: ``'iou'`` as in the released code, or
            ``'intersection'`` with the foreground as in the paper.
        record_path: As of ``ObjectDiscoveryMetric``.
        collect_device: Where results of several processes are gathered, ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the result names, instead of ``fg``.

    Raises:
        ValueError: If the protocol, a mask source or ``best`` is unknown.
    """

    default_prefix = 'fg'

    def __init__(
        self,
        protocol: str | dict[str, Any] = 'square128',
        mask_sources: Sequence[str] = ('decoder', 'attention'),
        best: str = 'iou',
        record_path: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        if best not in CHOICES:
            raise ValueError(f'best must be one of {CHOICES}, got {best!r}')
        names = ('iou', 'dice')
        super().__init__(names, protocol, mask_sources, record_path, collect_device, prefix)
        self.best = best
        self._drawn_by = replace(self.protocol, void='ignore')

    def facts(self) -> dict[str, Any]:
        """What decides the scores."""
        return {**super().facts(), 'switches': asdict(self._drawn_by), 'best': self.best}

    def draw(self, objects: TrueObjects) -> TruthMaps:
        """The foreground as one object, so that pixels of two objects are foreground too."""
        crowd = ~self.protocol.is_object(objects.crowd)
        masks = [objects.masks[~crowd].any(axis=0), objects.masks[crowd].any(axis=0)]
        flags = np.array([False, True])
        return self._drawn_by.ground_truth(
            np.stack(masks), np.ones(2, np.int64), flags & crowd.any(), objects.void
        )

    def image_scores(
        self, truth: TruthMaps, pred: Int64[np.ndarray, 'S S'], num_slots: int
    ) -> dict[str, Score]:
        """Both scores of the best slot."""
        if not (truth.instances > 0).any():
            return {name: Score(float('nan'), 1) for name in self.scores}
        overlaps = best_foreground_overlap(truth.instances, pred, num_slots, self.best)
        return {name: Score(x, 1) for name, x in zip(self.scores, overlaps, strict=True)}

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Average the records.

        Args:
            results: Records of all images.

        Returns:
            Means as floats (MMEngine writes integers as null); nan where no image counts.
        """
        return {**super().compute_metrics(results), 'num_images_fg': self.count(results, 'iou')}
