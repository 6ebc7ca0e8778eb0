"""LPIPS with a backbone from a file of the user, which torchmetrics can only download.

The one place that uses a private class of torchmetrics: every public way to LPIPS asks torchvision
for weights from the network. The learned linear weights come with torchmetrics itself.
"""

from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmocl.model_files import load_pickle
from mmocl.models.checkpoint import require_fit
from mmocl.require_module import require_module

# Backbone: torchvision's name of the weights, and the least side of an image it can take.
BACKBONES = {
    'alex': ('AlexNet_Weights.IMAGENET1K_V1', 31),
    'vgg': ('VGG16_Weights.IMAGENET1K_V1', 16),
    'squeeze': ('SqueezeNet1_1_Weights.IMAGENET1K_V1', 17),
}


def build_lpips(backbone: str, weights: str) -> nn.Module:
    """Build LPIPS, `arXiv:1801.03924 <https://arxiv.org/abs/1801.03924>`_, for evaluation.

    Args:
        backbone: ``'alex'``, ``'vgg'`` or ``'squeeze'``.
        weights: File with the state dict of torchvision's classifier of that name.

    Returns:
        Module that is called with two batches (B, 3, H, W) in [0, 1] and ``normalize=True`` and
        gives the distance of every pair, (B, 1, 1, 1).

    Raises:
        ValueError: If the backbone is unknown, or the weights do not fit it.
        FileNotFoundError: If there is no such file; the message says which weights are meant.
        ImportError: If torchmetrics is missing, or its class has changed.
    """
    if backbone not in BACKBONES:
        raise ValueError(f'lpips_backbone must be among {list(BACKBONES)}, got {backbone!r}')
    name, _ = BACKBONES[backbone]
    if not Path(weights).is_file():
        raise FileNotFoundError(
            f'lpips_weights: no file at {weights!r}; download the weights that torchvision calls '
            f'{name} (its state dict, as it is), or leave lpips_weights out to go without LPIPS'
        )
    # Random: the weights follow. Without this it would download.
    model = _lpips_class()(net=backbone, pnet_rand=True)
    checkpoint = load_pickle(weights, weights)
    # torchmetrics cuts 'features.3.weight' into 'slice2.3.weight' ('slices.1.3.' for squeeze).
    depth = 2 if backbone == 'squeeze' else 1
    names = {key.split('.', depth)[depth]: key for key in model.net.state_dict()}
    layers = {
        key.removeprefix('features.'): value
        for key, value in checkpoint.items()
        if key.startswith('features.')
    }
    renamed: dict[str, Tensor] = {names.get(key, key): value for key, value in layers.items()}
    require_fit(model.net, renamed, f'lpips_weights {weights!r} are not {name}')
    model.net.load_state_dict(renamed)
    return model.eval().requires_grad_(False)


def _lpips_class() -> Any:
    """Return torchmetrics' class, after a look whether it is the one that is known."""
    module = require_module('torchmetrics.functional.image.lpips', 'evaluation')
    found = getattr(module, '_LPIPS', None)
    if found is None or not {'net', 'pnet_rand'} <= signature(found).parameters.keys():
        raise ImportError(
            f'torchmetrics {version("torchmetrics")} builds LPIPS in a way that mmocl does not '
            'know; 1.9 is known to work'
        )
    return found
