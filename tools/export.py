"""Export a model: ``python tools/export.py CONFIG CHECKPOINT --out model.onnx``.

``.onnx`` is written for onnxruntime and others, ``.pt2`` is PyTorch's own (``torch.export.load``).
The one input, ``image``, is (B, 3, H, W), float32, RGB in [0, 255]; outputs are ``slots``,
``masks`` (of the decoder; the attention if it has none), ``attention`` and ``weights``. Where slots
start at random the start is drawn once, from ``--seed``, and written into the file. In the end the
file is run, and compared with the model.
"""

import argparse
from pathlib import Path

from mmengine.config import DictAction

import mmocl
from mmocl.apis import SlotInferencer, resolve_model
from mmocl.export import ExportedModel, image_shape, max_differences, write_onnx, write_program
from mmocl.require_module import require_module

TOLERANCE = 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file, name of a model, or published file')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint or published file')
    parser.add_argument('--out', required=True, metavar='FILE', help='.onnx or .pt2 file to write')
    parser.add_argument(
        '--shape', nargs=2, type=int, metavar=('H', 'W'), help='of the images; that of the config'
    )
    batch = parser.add_mutually_exclusive_group()
    batch.add_argument('--batch-size', type=int, default=1, help='images of a batch')
    batch.add_argument('--dynamic-batch', action='store_true', help='take batches of any size')
    parser.add_argument('--num-slots', type=int, help='number of slots; that of the config')
    parser.add_argument('--num-iters', type=int, help='number of updates; that of the config')
    parser.add_argument('--seed', type=int, default=0, help='of the random starts of slots')
    parser.add_argument('--no-check', action='store_true', help='do not run the file in the end')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    args = parser.parse_args()
    suffix = Path(args.out).suffix
    if suffix not in ('.onnx', '.pt2'):
        raise ValueError(f'--out must end with .onnx or .pt2, got {args.out!r}.')
    if args.batch_size < 1:
        raise ValueError(f'--batch-size must be at least 1, got {args.batch_size}.')
    if suffix == '.onnx':
        for name in ('onnx', 'onnxscript', *(() if args.no_check else ('onnxruntime',))):
            require_module(name, 'export', wanted_by='tools/export.py')

    config, checkpoint = resolve_model(args.config, args.checkpoint)
    if checkpoint is None:
        raise ValueError('Give a checkpoint: a model with random weights is of no use to anybody.')
    if args.cfg_options:
        config.merge_from_dict(args.cfg_options)
    shape = tuple(args.shape) if args.shape else image_shape(config)
    inferencer = SlotInferencer(config, checkpoint, device='cpu', show_progress=False)
    model = ExportedModel(inferencer.model, shape, args.num_slots, args.num_iters, args.seed)
    batch_size = None if args.dynamic_batch else args.batch_size
    about = {'mmocl': mmocl.__version__, 'model': Path(args.config).stem, 'seed': str(args.seed)}
    write = write_onnx if suffix == '.onnx' else write_program
    write(model, args.out, shape, batch_size, about)
    size = 'any batch' if args.dynamic_batch else f'batches of {args.batch_size}'
    megabytes = Path(args.out).stat().st_size / 1e6
    print(f'{args.out}: {megabytes:.2f} MB, {size} of 3x{shape[0]}x{shape[1]}')
    if not args.no_check:
        check(model, args.out, shape, (1, 2, 5) if batch_size is None else (batch_size,))


def check(
    model: ExportedModel, path: str, shape: tuple[int, int], batch_sizes: tuple[int, ...]
) -> None:
    """Print how far the file is from the model.

    Raises:
        ValueError: If that is too far; the file stays, to be looked at.
    """
    found = max_differences(model, path, shape, batch_sizes)
    runner = 'onnxruntime' if path.endswith('.onnx') else 'PyTorch'
    parts = ', '.join(f'{name} {value:.1e}' for name, value in found.items())
    print(f'largest difference from the model, in {runner} with batches of {batch_sizes}: {parts}')
    if not all(value <= TOLERANCE for value in found.values()):
        raise ValueError(
            f'{path} differs from the model by more than {TOLERANCE}: {parts}. Use it only if you '
            'know why (--no-check).'
        )


if __name__ == '__main__':
    main()
