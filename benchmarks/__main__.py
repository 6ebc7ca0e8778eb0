"""Run benchmarks: ``python -m benchmarks NAME [NAME ...]``; without a name it lists them.

Every benchmark runs what is ours and what it is compared with in turn, in one process, and prints
one table: ratios first, with their median and range over the repeats, absolute figures behind.
``python -m benchmarks report`` writes docs/performance.md from the results that were kept.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.catalog import find_benchmarks


def main(argv: Sequence[str] | None = None) -> None:
    """Run what the arguments name."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ['report']:
        import_module('benchmarks.report').main(argv[1:])
        return
    found = find_benchmarks()
    args = _parse(argv, found)
    if not args.names:
        width = max(map(len, found))
        print('\n'.join(f'{name:<{width}}  {line}' for name, line in found.items()))
        print(f'{"report":<{width}}  Write docs/performance.md from the kept results.')
        return
    options = argv[: argv.index(args.names[0])] + argv[argv.index(args.names[-1]) + 1 :]
    for name in args.names:
        _run(name, args, options)


def _parse(argv: Sequence[str], found: dict[str, str]) -> Any:
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('names', nargs='*', metavar='NAME', help='; '.join(found))
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--repeats', type=int, default=5, help='samples of every call')
    parser.add_argument('--threads', type=int, help="PyTorch's own number if not given")
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--compile', action='store_true', help='also where only a GPU gains by it')
    parser.add_argument('--tiny', action='store_true', help='only see that everything runs')
    parser.add_argument('--json', type=Path, help='file, or folder for NAME.json')
    parser.add_argument('--keep', action='store_true', help='write to benchmarks/results')
    args = parser.parse_args(argv)
    if unknown := [name for name in args.names if name not in found]:
        parser.error(f'unknown benchmark {", ".join(unknown)}; there are {", ".join(found)}')
    for name in ('repeats', 'threads'):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f'--{name} must be at least 1, got {value}')
    if args.json and args.json.suffix == '.json' and len(args.names) > 1:
        parser.error(f'--json must be a folder for several benchmarks, got {args.json}')
    if args.keep and args.tiny:
        parser.error('--keep is for results; those of --tiny mean nothing')
    if args.names and args.device == 'cuda':
        import torch

        if not torch.cuda.is_available():
            parser.error('--device cuda needs a GPU, and PyTorch sees none; use --device cpu')
    return args


def _run(name: str, args: Any, options: Sequence[str]) -> None:
    import torch
    from rich.console import Console

    from benchmarks import record
    from benchmarks.measure import Setting
    from benchmarks.terminal import as_table

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    setting = Setting(
        args.device,
        args.tiny,
        1 if args.tiny else args.repeats,
        torch.get_num_threads(),
        args.seed,
        args.compile,
    )
    torch.manual_seed(args.seed)
    rows = import_module(f'benchmarks.{name}').run(setting)
    made = record.as_record(name, options, setting, rows)
    console = Console()
    if not console.is_terminal:
        console.width = 400  # a file or a pipe has no width of its own
    console.print(as_table(made))
    paths = []
    if args.json:
        paths.append(args.json if args.json.suffix == '.json' else args.json / f'{name}.json')
    if args.keep:
        paths.append(record.KEPT / record.slug(args.device) / f'{name}.json')
    for path in paths:
        record.write(made, path)
        print(f'{path} is written')


if __name__ == '__main__':
    main()
