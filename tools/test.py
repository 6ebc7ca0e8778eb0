"""Score a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``."""

import argparse
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from mmocl.engine.cpu_processes import cpu_processes


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--work-dir', help='folder for logs; metrics are written to <timestamp>/*.json in it'
    )
    parser.add_argument('--show-dir', help='write a picture of every test image to this folder')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if not Path(args.checkpoint).is_file():
        raise FileNotFoundError(f'No checkpoint at {args.checkpoint!r}.')
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif not cfg.get('work_dir'):
        cfg.work_dir = f'work_dirs/{Path(args.config).stem}'
    cfg.load_from = args.checkpoint
    if cfg.model.backbone.get('pretrained'):
        # The weights come from the checkpoint: nothing to download first.
        cfg.model.backbone.pretrained = False
    cfg.resume = False
    if args.show_dir:
        cfg.default_hooks.visualization.show_dir = args.show_dir
    with cpu_processes(cfg):
        Runner.from_cfg(cfg).test()


if __name__ == '__main__':
    main()
