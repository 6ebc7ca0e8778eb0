"""Make a released checkpoint one of mmocl: ``convert.py {slate,boqsa,spot} CHECKPOINT OUT.pth``.

``tools/test.py CONFIG OUT.pth`` loads the result. The docstrings of ``slate.py``, ``boqsa.py`` and
``spot.py`` next to this file say which config fits.
"""

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from boqsa import boqsa
from slate import slate
from spot import spot
from torch import Tensor

CONVERTERS = {'slate': slate, 'boqsa': boqsa, 'spot': spot}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', choices=CONVERTERS, help='whose checkpoint it is')
    parser.add_argument('checkpoint', help='released checkpoint file')
    parser.add_argument('out', help='file to write')
    parser.add_argument(
        '--trust',
        action='store_true',
        help='load objects other than tensors too; such a file can run any code',
    )
    args = parser.parse_args()

    state, prefix = unwrap(load(args.checkpoint, args.trust))
    converted = CONVERTERS[args.source](state)
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    # Copies: a view would take the whole of what it is a part of along.
    weights = {key: value.clone() for key, value in converted.state.items()}
    torch.save({'state_dict': weights}, args.out)
    if prefix:
        print(f'Took the wrapper {prefix!r} off all names.')
    for why, count in Counter(converted.dropped.values()).items():
        names = [key for key, reason in converted.dropped.items() if reason == why]
        shown = ', '.join(names[:3]) + (', ...' if count > 3 else '')
        print(f'Dropped {count}: {why} ({shown}).')
    print(f'Mapped {len(weights)} of {len(state)} keys, written to {args.out}.')


def load(path: str, trust: bool = False) -> Any:
    """Load a checkpoint, only tensors and plain containers unless it is trusted.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it holds other objects.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'No checkpoint at {path!r}.')
    try:
        return torch.load(path, map_location='cpu', weights_only=not trust)
    except UnpicklingError as error:
        raise ValueError(
            f'{path!r} holds objects other than tensors, which can run any code when they are '
            f'loaded; give --trust if you trust its source. ({str(error).splitlines()[0]})'
        ) from error


def unwrap(checkpoint: Any) -> tuple[dict[str, Tensor], str]:
    """Find the weights in a training state, and take the prefix of a wrapper off their names.

    Returns:
        The weights, and the prefix (``''`` if there is none).

    Raises:
        ValueError: If there are no weights.
    """
    for key in ('state_dict', 'model'):
        if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
            break
    if not isinstance(checkpoint, Mapping) or not checkpoint:
        raise ValueError(
            "A checkpoint holds weights by name, or a dict with 'state_dict' or 'model'."
        )
    if not all(isinstance(value, Tensor) for value in checkpoint.values()):
        raise ValueError(
            "The checkpoint holds more than weights, but neither 'state_dict' nor 'model'; got "
            f'{sorted(map(str, checkpoint))}.'
        )
    for prefix in ('module.', 'model.'):
        if all(key.startswith(prefix) for key in checkpoint):
            return {key.removeprefix(prefix): value for key, value in checkpoint.items()}, prefix
    return dict(checkpoint), ''


if __name__ == '__main__':
    main()
