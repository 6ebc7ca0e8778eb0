"""Score a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``.

With ``--protocol`` its masks are scored under named presets instead of by the config's evaluators,
in as few passes as their inputs allow. ``--out`` writes all results, 95 % bootstrap intervals over
images of those that are means over images, and what is needed to repeat them.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from provenance import current_commit, hardware, shell_line, stamp, versions
from show_dir import set_show_dir

from mmocl.engine.cpu_processes import cpu_processes
from mmocl.engine.require_segmentation import require_segmentation
from mmocl.evaluation.json_values import null_for_nan
from mmocl.evaluation.protocols import PROTOCOLS, protocol_passes
from mmocl.file_digest import file_digest
from mmocl.model_files import load_checkpoint, trained_config
from mmocl.models.checkpoint import without_pretrained

# Options that may differ between seeds of one training.
RANDOM = ('randomness.seed', 'work_dir')
# What of a config makes a training.
TRAINING = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')
# What a file with the scores of every image says of them.
SOURCE = ('config', 'options', 'checkpoint', 'training_seed', 'test_seed', 'commit')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--work-dir', help='folder for logs; metrics are written to <timestamp>/*.json in it'
    )
    parser.add_argument(
        '--protocol',
        nargs='+',
        metavar='NAME',
        help=f'presets, of {", ".join(sorted(PROTOCOLS))}; with changed switches as in '
        "'spot320(average=object)'",
    )
    parser.add_argument('--out', help='JSON file (with --protocol: scores.json in the work dir)')
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
    cfg.model.backbone = without_pretrained(cfg.model.backbone)
    cfg.resume = False
    require_segmentation(cfg)
    if args.show_dir:
        set_show_dir(cfg, args.show_dir)
    if args.protocol and not args.out:
        args.out = str(Path(cfg.work_dir, 'scores.json'))
    with cpu_processes(cfg):
        score(cfg, args)


def score(cfg: Config, args: argparse.Namespace) -> None:
    """Test once, or once for every input that the presets want, and write what was found."""
    if not args.out:
        Runner.from_cfg(cfg).test()
        return
    out = Path(args.out)
    folder = out.with_suffix('.records')
    content = {**about(cfg, args), 'metrics': {}, 'records': {}}
    passes = protocol_passes(cfg, args.protocol, folder) if args.protocol else [cfg]
    for number, changed in enumerate(passes, start=1):
        if args.show_dir and len(passes) > 1:
            set_show_dir(changed, str(Path(args.show_dir, f'pass_{number}')))
        if number > 1:
            # The same random numbers, also if the config left them to chance.
            changed.randomness = {**(changed.get('randomness') or {}), 'seed': content['test_seed']}
        runner = Runner.from_cfg(changed)
        content['test_seed'] = runner.seed
        if args.protocol:
            names = ', '.join(metric['prefix'] for metric in changed.test_evaluator)
            runner.logger.info(f'Pass {number} of {len(passes)}: {names}')
        paths = {}
        for metric in runner.test_evaluator.metrics:
            if hasattr(metric, 'record_path'):
                metric.record_path = metric.record_path or str(folder / f'{metric.prefix}.json')
                paths[metric.prefix] = metric.record_path
        content['metrics'] |= runner.test()
        if is_main_process():
            source = {key: content[key] for key in SOURCE}
            for prefix, path in paths.items():
                content['records'][prefix] = {'path': path, **stamp(path, source)}
            # After every pass, since a model may not take the input of the next one.
            out.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(null_for_nan(content), indent=2, allow_nan=False)
            out.write_text(text + '\n')
    if is_main_process():
        if args.protocol:
            print(table_of(content['records']))
        print(f'Results are in {out}, scores of every image in {folder}.')


def about(cfg: Config, args: argparse.Namespace) -> dict[str, Any]:
    """What is scored, how it was trained, the data, and by what."""
    checkpoint = load_checkpoint(args.checkpoint)
    meta = checkpoint.get('meta') or {}
    trained = trained_config(checkpoint, args.checkpoint)
    data = {k: v for k, v in cfg.test_dataloader.dataset.items() if k != 'pipeline'}
    return {
        'config': args.config,
        'options': {k: v for k, v in (args.cfg_options or {}).items() if k not in RANDOM},
        'checkpoint': args.checkpoint,
        'checkpoint_sha256': file_digest(args.checkpoint),
        'training_seed': meta.get('seed'),
        'test_seed': None,
        'steps': meta.get('iter'),
        # The same for all seeds of one training.
        'training': trained and digest({key: trained.get(key) for key in TRAINING}),
        'data': data,
        'command': shell_line(),
        'commit': current_commit(),
        'hardware': hardware(),
        'versions': versions('torch', 'timm', 'numpy'),
    }


def digest(content: Any) -> str:
    """A short name of nested values; of absolute paths the last part counts."""

    def portable(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: portable(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [portable(inner) for inner in value]
        return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value

    text = json.dumps(portable(content), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def table_of(records: dict[str, dict[str, Any]]) -> str:
    """Means with their intervals in per cent; rows: scores; columns: presets."""
    names = list(records)
    scores = list(records[names[0]]['summary'])
    rows = [['score', *names]]
    rows += [
        [score, *(_cell(records[name]['summary'][score]) for name in names)] for score in scores
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return '\n'.join(line.rstrip() for line in lines)


def _cell(interval: dict[str, Any]) -> str:
    if interval['mean'] is None:
        return '-'
    mean = f'{100 * interval["mean"]:.1f}'
    if interval['low'] is None:
        return mean
    return f'{mean} [{100 * interval["low"]:.1f}, {100 * interval["high"]:.1f}]'


if __name__ == '__main__':
    main()
