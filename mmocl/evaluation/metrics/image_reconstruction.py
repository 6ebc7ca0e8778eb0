"""How well images are reconstructed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmocl.evaluation.functional import (
    mean_squared_error,
    mse_factor,
    peak_signal_noise_ratio,
)
from mmocl.evaluation.lpips import BACKBONES, build_lpips
from mmocl.evaluation.metrics.image_pairs import image_pairs
from mmocl.evaluation.metrics.record import write_record
from mmocl.registry import METRICS
from mmocl.require_module import require_module

# Side of torchmetrics' Gaussian window for the default standard deviation of 1.5 pixels.
_SSIM_WINDOW = 11


@METRICS.register_module()
class ImageReconstructionMetric(BaseMetric):
    """MSE, PSNR, SSIM and LPIPS of reconstructed images against what the model was shown.

    Images are compared at the size of the model's input, as the dataloader gave them; the data
    preprocessor cuts reconstructions to [0, 255], papers mostly do not, which can only raise the
    error. An autoregressive decoder sees the true tokens before each: its numbers are not those of
    images that it generates. Results are means over images:

    - ``mse_<convention>``: see ``mmocl.evaluation.functional.MSE_CONVENTIONS``;
    - ``psnr`` in dB with peak 1 (infinite if an image is reproduced exactly);
    - ``ssim``: torchmetrics', Gaussian window of 11 pixels, in [-1, 1];
    - ``lpips``: torchmetrics', at least 0, if ``lpips_weights`` is given.

    ``num_images`` says over how many.

    Args:
        conventions: Names of the conventions of the MSE.
        psnr: Report ``psnr``.
        ssim: Report ``ssim``.
        lpips_weights: File with torchvision's weights of the backbone (None: no LPIPS). Nothing
            is ever downloaded or replaced.
        lpips_backbone: ``'alex'``, ``'vgg'`` or ``'squeeze'``.
        record_path: JSON file for means with 95 % bootstrap intervals over images, and the scores
            of every image (None: none); values that are not finite are null.
        collect_device: Where results of several processes are gathered, ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the result names, instead of ``image``.

    Raises:
        ValueError: If a convention or the backbone is unknown, or the weights do not fit it.
        FileNotFoundError: If ``lpips_weights`` is no file.
        ImportError: If SSIM or LPIPS is asked for, and torchmetrics is missing.
    """

    default_prefix = 'image'

    def __init__(
        self,
        conventions: Sequence[str] = ('mean',),
        psnr: bool = True,
        ssim: bool = True,
        lpips_weights: str | None = None,
        lpips_backbone: str = 'alex',
        record_path: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        # A single name would be read letter by letter.
        self.conventions = [conventions] if isinstance(conventions, str) else list(conventions)
        for name in self.conventions:
            mse_factor(name, (3, 1, 1))
        self.psnr = psnr
        self.record_path = record_path
        self.ssim: Any = None
        if ssim:
            module = require_module('torchmetrics.functional.image', 'evaluation')
            self.ssim = module.structural_similarity_index_measure
        self.lpips_backbone = lpips_backbone
        self.lpips: Any = None
        if lpips_weights is not None:
            self.lpips = build_lpips(lpips_backbone, lpips_weights)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Append one record per image.

        Args:
            data_batch: What the dataloader gave, with uint8 images (3, H, W) in ``inputs``.
            data_samples: ``SlotDataSample`` of every image as a dict, with ``pred_image``.

        Raises:
            ValueError: If the image or its reconstruction is missing, they differ in size, or are
                too small for the window of SSIM or the backbone of LPIPS.
        """
        pairs = image_pairs(data_batch, data_samples, type(self).__name__)
        for (true, recon), sample in zip(pairs, data_samples, strict=True):
            self.results.append({'img_id': sample.get('img_id'), **self._scores(true, recon)})

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Average the records.

        Args:
            results: Records of all images.

        Returns:
            Means as floats (MMEngine writes integers as null).
        """
        names = [name for name in results[0] if name != 'img_id'] if results else []
        columns = {name: np.array([record[name] for record in results]) for name in names}
        if self.record_path is not None:
            weighted = {name: (column, np.ones(len(column))) for name, column in columns.items()}
            write_record(self.record_path, {'metric': type(self).__name__}, weighted, results)
        metrics = {name: float(column.mean()) for name, column in columns.items()}
        return {**metrics, 'num_images': float(len(results))}

    def _scores(
        self, true: Float[Tensor, '3 H W'], recon: Float[Tensor, '3 H W']
    ) -> dict[str, float]:
        """All scores of one image."""
        true_cpu, recon_cpu = true.cpu(), recon.cpu()
        arrays = true_cpu.numpy(), recon_cpu.numpy()
        scores = {f'mse_{name}': mean_squared_error(*arrays, name) for name in self.conventions}
        if self.psnr:
            scores['psnr'] = peak_signal_noise_ratio(*arrays)
        side = min(true.shape[1:])
        if self.ssim:
            _require_side(side, _SSIM_WINDOW, 'the window of SSIM; set ssim=False')
            # In single precision, as everybody runs it; double takes many times as long on a CPU.
            value = self.ssim(recon[None].float(), true[None].float(), data_range=1.0)
            scores['ssim'] = float(value)
        if self.lpips:
            least = BACKBONES[self.lpips_backbone][1]
            _require_side(side, least, f'LPIPS with lpips_backbone={self.lpips_backbone!r}')
            with torch.no_grad():
                value = self.lpips.to(true.device)(recon[None], true[None], normalize=True)
            scores['lpips'] = float(value)
        return scores


def _require_side(side: int, least: int, what: str) -> None:
    if side < least:
        raise ValueError(f'an image side of {side} pixels is below the {least} of {what}')
