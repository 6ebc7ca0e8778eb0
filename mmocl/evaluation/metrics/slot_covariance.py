"""How much the features of slots vary together, which COVLOSS is there to lower."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from mmocl.models.losses.covariance import covariance, off_diagonal_energy
from mmocl.registry import METRICS


@METRICS.register_module()
class SlotCovarianceMetric(BaseMetric):
    """Covariance of the D features of slots over all active slots of a data set.

    Stange et al., "Exploring the Role of the Bottleneck in Slot-Based Models Through Covariance
    Regularization", penalise it in the batches of the training (:class:`CovarianceLoss`). Results:

    - ``covariance``: sum of squares off the diagonal, divided by D, as their DINOSAUR runs do;
    - ``correlation``: root mean square of the correlations of different features, in [0, 1], which
      does not depend on the scale of the slots;
    - ``std``: mean standard deviation of a feature.

    Args:
        collect_device: Where results of several processes are gathered, ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the result names, instead of ``slots``.
    """

    default_prefix = 'slots'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Append the active slots of every image.

        Raises:
            ValueError: If a prediction has no ``pred_slots``.
        """
        for sample in data_samples:
            if 'pred_slots' not in sample:
                raise ValueError(f"image {sample.get('img_id')!r} has no 'pred_slots'")
            slots = sample['pred_slots']
            self.results.append(slots['slots'][slots['active']].float().cpu())

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Take the covariance over all slots.

        Raises:
            ValueError: If there are fewer than two slots.
        """
        slots = torch.cat(results).double()
        if len(slots) < 2:
            raise ValueError(f'a covariance needs at least two slots, got {len(slots)}')
        cov = covariance(slots)
        std = cov.diagonal().sqrt()
        width = len(std)
        # A feature that never changes is correlated with nothing.
        units = std.masked_fill(std == 0, torch.inf)
        energy = off_diagonal_energy(cov / units / units[:, None])
        return {
            'covariance': (off_diagonal_energy(cov) / width).item(),
            'correlation': (energy / max(width * (width - 1), 1)).sqrt().item(),
            'std': std.mean().item(),
        }
