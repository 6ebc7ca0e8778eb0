"""How well a model reconstructs its target."""

from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric

from mmocl.registry import METRICS


@METRICS.register_module()
class ReconstructionErrorMetric(BaseMetric):
    """Mean squared error of reconstructions, over all elements of an image and all images.

    In the units of the target: pixels as the data preprocessor normalises them, or features. An
    autoregressive decoder sees the true elements before each.

    Args:
        collect_device: Where results of several processes are gathered, ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the result name ``mse``, instead of ``recon``.
    """

    default_prefix = 'recon'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Append the error of every image.

        Raises:
            ValueError: If a prediction has no ``recon_error``.
        """
        for sample in data_samples:
            if 'recon_error' not in sample:
                raise ValueError(
                    f"image {sample.get('img_id')!r} has no 'recon_error' (tokens have none)"
                )
            self.results.append(float(sample['recon_error']))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Average the errors."""
        return {'mse': sum(results) / len(results)}
