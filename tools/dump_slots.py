"""Write the slots of a split: ``python tools/dump_slots.py CONFIG CHECKPOINT OUT.npz``.

With ``--properties position shape`` the true properties of the objects are written too, and with
``--mask-source decoder`` the overlaps of slots and objects: what ``tools/probe_properties.py``
reads. ``none`` in place of the checkpoint takes the model as it is before training. Images of the
training split are shown as those of the test split are, without random transforms. The file also
says where the slots come from: config, checkpoint, its seed and steps, command, commit and split.
"""

import argparse
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from provenance import current_commit, shell_line

from mmocl.datasets.cache_views import NO_IMAGE
from mmocl.datasets.feature_cache import cache_settings
from mmocl.engine.cpu_processes import cpu_processes
from mmocl.model_files import load_checkpoint
from mmocl.models.checkpoint import without_pretrained
from mmocl.structures import MASK_SOURCES

SPLITS = ('train', 'val', 'test')


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help="checkpoint file, or 'none' for the untrained model")
    parser.add_argument('out', help='.npz file to write')
    parser.add_argument(
        '--properties',
        nargs='+',
        default=[],
        metavar='NAME',
        help='true properties of the objects to write: fields of gt_objects',
    )
    parser.add_argument(
        '--mask-source',
        choices=sorted(MASK_SOURCES),
        help='write the overlaps of these masks with the objects',
    )
    parser.add_argument('--attention', action='store_true', help='write the attention of the slots')
    parser.add_argument(
        '--protocol', default='square128', help='how masks are compared, and what is an object'
    )
    parser.add_argument('--split-key', choices=SPLITS, default='test', help='which dataloader')
    parser.add_argument('--work-dir', help='folder for logs')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    args = parser.parse_args()
    if args.checkpoint != 'none' and not Path(args.checkpoint).is_file():
        raise FileNotFoundError(
            f"No checkpoint at {args.checkpoint!r} ('none' takes the untrained model)."
        )

    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or f'work_dirs/{Path(args.config).stem}'
    cfg.resume = False
    if args.checkpoint == 'none':
        cfg.load_from = None
        if (cfg.get('randomness') or {}).get('seed') is None:
            cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': 0}  # to draw it again
    else:
        cfg.load_from = args.checkpoint
        # The weights come from the checkpoint: nothing to download or to look for first.
        cfg.model.backbone = without_pretrained(cfg.model.backbone)
    cfg.test_dataloader = whole_split(
        cfg, args.split_key, objects=bool(args.properties or args.mask_source)
    )
    cfg.test_evaluator = {
        'type': 'mmocl.SlotDumpMetric',
        'path': args.out,
        'properties': args.properties,
        'protocol': args.protocol,
        'mask_source': args.mask_source,
        'attention': args.attention,
        'info': source(cfg, args.config, args.checkpoint, args.split_key),
    }
    cfg.test_cfg = cfg.get('test_cfg') or {}
    # Neither is needed, and both may name what is not there.
    cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = cfg.param_scheduler = None
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    with cpu_processes(cfg):
        Runner.from_cfg(cfg).test()
    if is_main_process():
        print(f'Slots are in {args.out}')


def source(cfg: Config, config: str, checkpoint: str, split: str) -> dict[str, Any]:
    """Where the slots come from: the ``info`` of the dump.

    Args:
        cfg: Config with all changes.
        config: Its path.
        checkpoint: Path of the checkpoint, or ``'none'``.
        split: One of ``SPLITS``.

    Returns:
        Facts by name, None for what is not known. An untrained model has no checkpoint and 0 steps,
        and the seed that it is drawn with.
    """
    if checkpoint == 'none':
        file, seed, steps = None, (cfg.get('randomness') or {}).get('seed'), 0
    else:
        meta = load_checkpoint(checkpoint).get('meta') or {}
        file, seed, steps = checkpoint, meta.get('seed'), meta.get('iter')
    return {
        'config': config,
        'checkpoint': file,
        'seed': seed,
        'steps': steps,
        'command': shell_line(),
        'commit': current_commit(),
        'split': split,
    }


def whole_split(cfg: Config, split: str, objects: bool) -> dict:
    """Dataloader of a split that gives every image once, in the order of the dataset.

    Args:
        cfg: Config with the dataloaders.
        split: One of ``SPLITS``. Training images go through the pipeline of the test split, since
            two dumps with flips or crops of their own would not show the same images.
        objects: Whether ground truth is needed; if not, a training split may lack it.

    Raises:
        ValueError: If the transforms of the training split cannot be replaced.
    """
    loader = dict(cfg[f'{split}_dataloader'])
    loader.pop('batch_sampler', None)
    loader['sampler'] = {'type': 'DefaultSampler', 'shuffle': False}
    loader['drop_last'] = False
    if split == 'train':
        tested = (cfg.get('test_dataloader') or {}).get('dataset', {})
        loader['dataset'] = _as_tested(loader['dataset'], tested, objects)
    return loader


def _is_no_image(step: dict) -> bool:
    return step['type'].rpartition('.')[2] in NO_IMAGE


def _as_tested(dataset: dict, tested: dict, objects: bool) -> dict:
    """A training set with the transforms, and if asked for the ground truth, of a test set."""
    if inner := sorted({'dataset', 'datasets'} & {*dataset}):
        raise ValueError(
            f'train_dataloader.dataset wraps others ({inner[0]}), whose random transforms would '
            'show other images in every dump; expected a dataset with a pipeline of its own'
        )
    dataset = dict(dataset)
    if 'pipeline' in dataset:
        if not tested.get('pipeline'):
            raise ValueError(
                '--split-key train shows images by test_dataloader.dataset.pipeline, but there is '
                'none'
            )
        shown = tested['pipeline']
        if dataset.get('token_cache') is not None:
            # What tokens show was decided when they were cached; one view is always the same.
            own = [step for step in dataset['pipeline'] if not _is_no_image(step)]
            shown = [*own, *(step for step in shown if _is_no_image(step))]
            settings = cache_settings(dataset['token_cache'], 'token_cache', 'verify', 'views')
            dataset['token_cache'] = {**settings, 'views': ['center']}
        dataset['pipeline'] = [
            step
            for step in shown
            if objects or step['type'].rpartition('.')[2] != 'LoadObjectMasks'
        ]
    if objects and 'test_mode' in tested:
        dataset['test_mode'] = tested['test_mode']
    return dataset


if __name__ == '__main__':
    main()
