"""Exported models as files: ONNX, and PyTorch's own format."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from mmocl.export.exported_model import OUTPUTS, ExportedModel
from mmocl.require_module import require_module

# Has LayerNormalization (17), and GridSample and bicubic Resize in the form that PyTorch writes.
_OPSET = 18
# Traced with two images: sizes 0 and 1 mean something else to PyTorch's tracer.
_BATCH = 2


def write_onnx(
    model: ExportedModel,
    path: str | Path,
    shape: tuple[int, int],
    batch_size: int | None = None,
    about: Mapping[str, str] | None = None,
) -> None:
    """Write an ONNX file with the input ``image`` and the outputs ``OUTPUTS``.

    Args:
        model: What to export.
        path: File to write.
        shape: Height and width of the images.
        batch_size: Images of a batch; any number if not given.
        about: Facts for the file's metadata.

    Raises:
        ImportError: If ``onnx`` or ``onnxscript`` is not installed.
    """
    for name in ('onnx', 'onnxscript'):
        require_module(name, 'export', wanted_by='Export to ONNX')
    for name in ('onnxscript', 'onnx_ir', 'torch.onnx'):
        logging.getLogger(name).setLevel(logging.ERROR)  # their remarks are for their developers
    program = torch.onnx.export(
        _traced(model, shape, batch_size),
        dynamic_shapes=_dynamic(batch_size),  # for the name of the axis
        dynamo=True,
        opset_version=_OPSET,
        input_names=['image'],
        output_names=list(OUTPUTS),
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props['mmocl'] = json.dumps(dict(about or {}), sort_keys=True)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    program.save(str(path))


def write_program(
    model: ExportedModel,
    path: str | Path,
    shape: tuple[int, int],
    batch_size: int | None = None,
    about: Mapping[str, str] | None = None,
) -> None:
    """Write a ``.pt2`` file of :func:`torch.export.export`; arguments as of :func:`write_onnx`."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    files = {'mmocl.json': json.dumps(dict(about or {}), sort_keys=True)}
    torch.export.save(_traced(model, shape, batch_size), path, extra_files=files)


@torch.no_grad()
def _traced(
    model: ExportedModel, shape: tuple[int, int], batch_size: int | None
) -> ExportedProgram:
    images = example(shape, _BATCH if batch_size is None else batch_size).to(
        next(model.parameters()).device
    )
    return torch.export.export(model, (images,), dynamic_shapes=_dynamic(batch_size), strict=False)


def _dynamic(batch_size: int | None) -> dict | None:
    return {'image': {0: Dim('batch', min=1)}} if batch_size is None else None


def example(shape: tuple[int, int], batch_size: int, seed: int = 0) -> Tensor:
    """Images of noise, (B, 3, H, W) in [0, 255]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (batch_size, 3, *shape), generator=generator).float()
