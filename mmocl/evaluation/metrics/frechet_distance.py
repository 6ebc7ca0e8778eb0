"""How far the distribution of reconstructions is from that of the images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor, nn
from torch.nn import functional

from mmocl.evaluation.metrics.image_pairs import image_pairs
from mmocl.model_files import load_checkpoint
from mmocl.models.checkpoint import require_fit
from mmocl.registry import METRICS, MODELS
from mmocl.require_module import require_module
from mmocl.structures import Features


@METRICS.register_module()
class FrechetDistanceMetric(BaseMetric):
    """Fréchet distance of images and their reconstructions in the features of a given network.

    The formula of FID, `arXiv:1706.08500 <https://arxiv.org/abs/1706.08500>`_, as torchmetrics
    computes it, in float64: both sets of features as Gaussians. It is FID, and may be compared with
    published FIDs, only if ``feature`` is the Inception network of that paper with its weights and
    its resize to 299x299; the result is therefore called ``fd`` unless ``name`` says otherwise.
    There is no default network, since it would have to be downloaded. PSA's published FIDs compare
    images in which negative values (of [-1, 1]) were cut to black, which is not done here.

    Results: the distance, and ``num_images``. Few images bias the distance upwards: compare equal
    numbers only.

    Args:
        feature: Network to features: a built module, or the config of one in ``MODELS``, e.g.
            ``dict(type='TimmBackbone', model_name=..., checkpoint=...)``. It gives (B, D), or maps
            (B, D, h, w) or tokens (``Features``), which are averaged.
        weights: File with the network's state dict, unless its config names weights itself
            (``checkpoint`` or ``pretrained``).
        mean: Mean that is taken off every channel, in [0, 255]. The default maps to [-1, 1].
        std: Standard deviation that every channel is divided by.
        size: Side of the square that images are resized to, bilinearly with antialias (None: they
            stay as they are).
        name: Name of the distance in the results.
        collect_device: Where results of several processes are gathered, ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the result names, instead of ``image``.

    Raises:
        ValueError: If ``feature`` is missing or would have random weights, or weights do not fit.
        FileNotFoundError: If ``weights`` is no file.
        ImportError: If torchmetrics is missing.
    """

    default_prefix = 'image'

    def __init__(
        self,
        feature: dict | nn.Module | None = None,
        weights: str | None = None,
        mean: Sequence[float] = (127.5, 127.5, 127.5),
        std: Sequence[float] = (127.5, 127.5, 127.5),
        size: int | None = None,
        name: str = 'fd',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        # Not only after the last image.
        module = require_module('torchmetrics.image.fid', 'evaluation')
        self.distance: Any = module.FrechetInceptionDistance
        self.feature = _build(feature, weights).eval().requires_grad_(False)
        self.mean = torch.tensor(mean)[:, None, None] / 255
        self.std = torch.tensor(std)[:, None, None] / 255
        self.size = size
        self.name = name

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Append the features of every image and of its reconstruction.

        Args:
            data_batch: What the dataloader gave, with uint8 images (3, H, W) in ``inputs``.
            data_samples: ``SlotDataSample`` of every image as a dict, with ``pred_image``.

        Raises:
            ValueError: If the image or its reconstruction is missing, they differ in size, or
                ``feature`` gives something else than features.
        """
        pairs = image_pairs(data_batch, data_samples, type(self).__name__)
        true, recon = (self._features(torch.stack(images)) for images in zip(*pairs, strict=True))
        for i, sample in enumerate(data_samples):
            self.results.append({'img_id': sample.get('img_id'), 'features': (true[i], recon[i])})

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compare the two sets of features.

        Args:
            results: Records of all images.

        Returns:
            The distance and ``num_images``.

        Raises:
            ValueError: If there are fewer than two images.
        """
        if len(results) < 2:
            raise ValueError(f'a covariance needs at least two images, got {len(results)}')
        true, recon = (
            torch.from_numpy(np.stack([record['features'][i] for record in results])).double()
            for i in (0, 1)
        )
        num_images, num_features = true.shape
        if num_images <= num_features:
            MMLogger.get_current_instance().warning(
                f'{self.name}: {num_images} images cannot fill the covariance of {num_features} '
                'features; the distance is biased upwards and depends on their number'
            )
        # Features go in, so no network is needed here; only the main process computes, so that
        # torchmetrics must not wait for the others.
        distance = self.distance(_Same(num_features), normalize=True, sync_on_compute=False)
        distance.set_dtype(torch.float64)
        distance.update(true, real=True)
        distance.update(recon, real=False)
        return {self.name: float(distance.compute()), 'num_images': float(num_images)}

    @torch.no_grad()
    def _features(self, images: Float[Tensor, 'B 3 H W']) -> Float[np.ndarray, 'B D']:
        """Normalise images in [0, 1] and run the network."""
        device = images.device
        images = (images - self.mean.to(device)) / self.std.to(device)
        if self.size is not None:
            images = functional.interpolate(
                images, (self.size, self.size), mode='bilinear', antialias=True
            )
        output = self.feature.to(device)(images)
        if isinstance(output, Features):
            output = output.tokens.mean(dim=1)
        elif isinstance(output, Tensor) and output.ndim == 4:
            output = output.mean(dim=(2, 3))
        if not isinstance(output, Tensor) or output.ndim != 2:
            found = getattr(output, 'shape', type(output).__name__)
            raise ValueError(
                f'feature of FrechetDistanceMetric must give (B, D), (B, D, h, w) or Features, got '
                f'{found}'
            )
        return output.float().cpu().numpy()


class _Same(nn.Module):
    """Stands where torchmetrics expects a network."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def _build(feature: dict | nn.Module | None, weights: str | None) -> nn.Module:
    """Build the network, with weights that somebody chose."""
    if feature is None:
        raise ValueError(
            'FrechetDistanceMetric needs feature=, a module or the config of one, with its '
            'weights; there is no default network'
        )
    model = feature if isinstance(feature, nn.Module) else MODELS.build(feature)
    if weights is not None:
        if not Path(weights).is_file():
            raise FileNotFoundError(f'FrechetDistanceMetric: weights: no file at {weights!r}')
        checkpoint = load_checkpoint(weights)
        checkpoint = checkpoint.get('state_dict', checkpoint)
        require_fit(model, checkpoint, f'weights {weights!r} do not fit {type(model).__name__}')
        model.load_state_dict(checkpoint)
    elif (
        isinstance(feature, dict)
        and not (feature.get('checkpoint') or feature.get('pretrained'))
        and next(model.parameters(), None) is not None
    ):
        raise ValueError(
            f'feature {feature.get("type")!r} of FrechetDistanceMetric would have random weights; '
            'give weights=, or checkpoint or pretrained in its config'
        )
    return model
