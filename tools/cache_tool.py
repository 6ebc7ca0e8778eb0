"""What the tools that write caches share: arguments, the images of a config, and plain errors."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

from mmocl.datasets import ObjectDataset
from mmocl.registry import DATASETS


def cache_parser(description: str, processes: str) -> argparse.ArgumentParser:
    """Arguments of both tools.

    Args:
        description: What the tool does.
        processes: What happens without ``--num-processes``.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', required=True, help='folder to write')
    parser.add_argument(
        '--split', choices=['train', 'val', 'test'], default='train', help='which dataloader'
    )
    parser.add_argument(
        '--shard-size', type=at_least(1), help='images a file; default: 16 to 512, for 8 files'
    )
    parser.add_argument('--num-processes', type=at_least(1), help=f'default: {processes}')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    return parser


def at_least(minimum: int) -> Callable[[str], int]:
    """Type of a whole number for argparse."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if number < minimum:
            raise argparse.ArgumentTypeError(
                f'expected a whole number of at least {minimum}, got {text!r}'
            )
        return number

    return parse


def usual_shard_size(num_images: int) -> int:
    """Images a file, so that a few processes have work on a small data set too."""
    return min(512, max(16, -(-num_images // 8)))


def read_config(args: argparse.Namespace) -> tuple[Config, dict[str, Any]]:
    """The config with its overrides, and of it the data set of ``--split``."""
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)
    return cfg, cfg[f'{args.split}_dataloader'].dataset


def image_files(settings: dict[str, Any], key: str) -> tuple[list[str], dict[str, int]]:
    """Images of a config's data set.

    Args:
        settings: The data set.
        key: Where it stands in the config.

    Returns:
        Paths, and sizes in bytes by name, in the same order.

    Raises:
        ValueError: If it is none of image files with a pipeline.
    """
    bare = {'pipeline': [], 'test_mode': False, 'token_cache': None, 'image_cache': None}
    source = DATASETS.build({**settings, **bare}) if 'pipeline' in settings else None
    if not isinstance(source, ObjectDataset):
        raise ValueError(
            f'{key} must be a data set of image files with a pipeline, such as CocoObjects, got '
            f'{settings["type"]}.'
        )
    infos = [source.get_data_info(i) for i in range(len(source))]
    paths = [info['img_path'] for info in infos]
    return paths, {source.relative_name(i): os.path.getsize(i['img_path']) for i in infos}


def in_words(num_bytes: float) -> str:
    """A number of bytes for readers."""
    return f'{num_bytes / 1e9:.1f} GB' if num_bytes >= 1e8 else f'{num_bytes / 1e6:.2f} MB'


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool, and end with one line where the user can help: no traceback."""
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f'{Path(sys.argv[0]).name}: error: {error}')
