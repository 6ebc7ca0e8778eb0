import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mmocl.export.exported_model import OUTPUTS, ExportedModel
from mmocl.export.writers import example
from mmocl.require_module import require_module


@torch.no_grad()
def max_differences(
    model: ExportedModel,
    path: str | Path,
    shape: tuple[int, int],
    batch_sizes: Sequence[int],
) -> dict[str, float]:
    """Compare a file of :func:`write_onnx` or :func:`write_program` with the model that it is of.

    Args:
        model: The model, on a CPU.
        path: The file; ``.onnx`` is run by onnxruntime.
        shape: Height and width of the images.
        batch_sizes: Batches of random images to try.

    Returns:
        Largest absolute difference by name of the output.

    Raises:
        ImportError: If onnxruntime is needed and not installed.
    """
    run = _onnx(path) if Path(path).suffix == '.onnx' else _program(path)
    found = dict.fromkeys(OUTPUTS, 0.0)
    for size in batch_sizes:
        images = example(shape, size, seed=1 + size)
        for name, ours, theirs in zip(OUTPUTS, model(images), run(images), strict=True):
            difference = (ours - theirs).abs().max().item()
            # NaN is not larger than anything: it must not get lost.
            found[name] = difference if math.isnan(difference) else max(found[name], difference)
    return found


def _onnx(path: str | Path) -> Callable[[Tensor], list[Tensor]]:
    runtime = require_module('onnxruntime', 'export', wanted_by='The check of an ONNX file')
    session = runtime.InferenceSession(str(path), providers=['CPUExecutionProvider'])

    def run(images: Tensor) -> list[Tensor]:
        return [torch.as_tensor(x) for x in session.run(list(OUTPUTS), {'image': images.numpy()})]

    return run


def _program(path: str | Path) -> Callable[[Tensor], list[Tensor]]:
    return torch.export.load(path).module()
