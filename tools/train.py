"""Train a model: ``python tools/train.py CONFIG``."""

import argparse
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from mmocl.engine.cpu_processes import cpu_processes
from mmocl.engine.require_segmentation import require_segmentation


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from the latest checkpoint of the work dir, or from the given one',
    )
    parser.add_argument('--amp', action='store_true', help='bfloat16 mixed precision')
    parser.add_argument(
        '--compile', action='store_true', help='compile backbone, slot head and decoder'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override settings of the config, e.g. model.slot_head.num_iters=5',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif not cfg.get('work_dir'):
        cfg.work_dir = f'work_dirs/{Path(args.config).stem}'
    if args.amp:
        # Unlike MMEngine's AmpOptimWrapper it also runs on a CPU.
        cfg.optim_wrapper.type = 'mmocl.Bf16OptimWrapper'
        for key in ('dtype', 'loss_scale'):  # of AmpOptimWrapper
            cfg.optim_wrapper.pop(key, None)
    if args.compile:
        cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='mmocl.CompileHook')]
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    if cfg.get('resume') and str(cfg.get('load_from')).endswith('.safetensors'):
        raise ValueError(
            f'{cfg.load_from} is a published model, which has no state of its training, so that '
            'none can be resumed from it; to start from its weights give --cfg-options '
            f'load_from={cfg.load_from} without resume.'
        )
    require_segmentation(cfg)
    with cpu_processes(cfg):
        Runner.from_cfg(cfg).train()


if __name__ == '__main__':
    main()
