"""Score k-means on a config's tokens, and block masks, by its ``ObjectDiscoveryMetric``.

``python tools/score_baselines.py CONFIG --num-slots 7 --out-dir DIR`` prints both and
writes the scores of every image to ``kmeans.json`` and ``blocks.json``, for ``compare_records.py``.
With ``--protocol`` they are scored under named presets instead, each on the images that it shows a
model, and written as ``tools/test.py --protocol`` writes those of a checkpoint, the seed of k-means
in place of that of the training: ``DIR/kmeans/scores.json``, the scores of every image in
``DIR/kmeans/records``, and the same in ``DIR/blocks``.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmengine.utils import track_iter_progress
from provenance import current_commit, hardware, shell_line, stamp, versions

from mmocl.engine.hooks.feature_cache_hook import feature_caches
from mmocl.evaluation.baselines import block_masks, kmeans_masks
from mmocl.evaluation.json_values import null_for_nan
from mmocl.evaluation.metrics import ObjectDiscoveryMetric
from mmocl.evaluation.protocols import PROTOCOLS, get_protocol, protocol_passes
from mmocl.models.model_key import model_key
from mmocl.registry import DATASETS, METRICS, MODELS

BASELINES = ('kmeans', 'blocks')


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--protocol', nargs='+', metavar='NAME', help=f'presets, of {", ".join(sorted(PROTOCOLS))}'
    )
    parser.add_argument(
        '--num-slots', type=int, help='clusters and blocks (default: those of the config)'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of k-means')
    parser.add_argument('--out-dir', default='work_dirs/baselines', help='folder for the scores')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    args = parser.parse_args()

    commit = current_commit()  # of the code that runs, not of what is checked out when it ends
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)
    folder = Path(args.out_dir)
    if args.protocol:
        passes = protocol_passes(cfg, args.protocol, folder)
    else:
        cfg.test_evaluator = [discovery_of(cfg.test_evaluator)]
        passes = [cfg]
    MMLogger.get_instance('baselines')
    model = MODELS.build(cfg.model).to(get_device()).eval()
    num_slots = args.num_slots or model.slot_head.initializer.num_slots

    scores: dict[str, dict[str, float]] = {name: {} for name in BASELINES}
    for number, changed in enumerate(passes, start=1):
        if args.protocol:
            names = ', '.join(own['prefix'] for own in changed.test_evaluator)
            print(f'Pass {number} of {len(passes)}: {names}')
        dataset = DATASETS.build(changed.test_dataloader.dataset)
        for cache in feature_caches(dataset):
            cache.require_model(model_key(model.backbone, model.data_preprocessor))
        metrics = {
            name: build_metrics(changed.test_evaluator, folder, name, bool(args.protocol))
            for name in BASELINES
        }
        for name, found in score(model, dataset, metrics, num_slots, args.seed).items():
            scores[name].update(found)
    if not args.protocol:
        print(json.dumps(scores, indent=2))
        return
    shared = {
        'config': args.config,
        'options': args.cfg_options or {},
        'checkpoint': None,
        'test_seed': None,
        'steps': None,  # nothing is trained
        'data': {k: v for k, v in cfg.test_dataloader.dataset.items() if k != 'pipeline'},
        'command': shell_line(),
        'commit': commit,
        'hardware': hardware(),
        'versions': versions('torch', 'timm', 'numpy', 'scikit-learn'),
    }
    for name in BASELINES:
        # Blocks draw nothing.
        seed = args.seed if name == 'kmeans' else None
        content = {
            **shared,
            'training': f'{name}, {num_slots} slots',
            'training_seed': seed,
            'metrics': scores[name],
        }
        names = [get_protocol(protocol).name for protocol in args.protocol]
        print(write_scores(folder / name, content, names))


def build_metrics(
    evaluators: Sequence[Mapping[str, Any]], folder: Path, baseline: str, by_protocol: bool
) -> list[ObjectDiscoveryMetric]:
    """Metrics of a baseline, each with a file of its own for the scores of every image."""
    metrics = []
    for own in evaluators:
        path = folder / f'{baseline}.json'
        if by_protocol:
            path = folder / baseline / 'records' / f'{own["prefix"]}.json'
        evaluator = {**own, 'mask_sources': ['decoder'], 'record_path': str(path)}
        metrics.append(METRICS.build(evaluator))
    return metrics


def score(
    model: torch.nn.Module,
    dataset: Any,
    metrics: Mapping[str, Sequence[ObjectDiscoveryMetric]],
    num_slots: int,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Score both baselines on all images.

    Args:
        model: Model, of which the backbone is used.
        dataset: Dataset of images with true masks.
        metrics: Metrics of ``'kmeans'`` and of ``'blocks'``.
        num_slots: Number of clusters and of blocks.
        seed: Seed of k-means.

    Returns:
        Results of all metrics of a baseline, by its name.
    """
    for metric in (metric for several in metrics.values() for metric in several):
        # By it a preset refuses a data set that it cannot score.
        metric.dataset_meta = dataset.metainfo
    for i in track_iter_progress(range(len(dataset))):
        item = dataset[i]
        sample = item['data_samples']
        with torch.no_grad():
            features = model.extract(
                model.data_preprocessor({'inputs': [item['inputs']]})['inputs']
            )
        masks = {
            'kmeans': kmeans_masks(features.tokens[0], features.grid, num_slots, seed),
            'blocks': block_masks(num_slots, features.grid),
        }
        for name, several in metrics.items():
            sample.pred_masks = PixelData(data=masks[name])
            for metric in several:
                metric.process(None, [sample.to_dict()])
    print()
    scores: dict[str, dict[str, float]] = {name: {} for name in metrics}
    for name, several in metrics.items():
        for metric in several:
            scores[name].update(metric.evaluate(len(dataset)))
    return scores


def write_scores(folder: Path, content: dict[str, Any], names: Sequence[str]) -> str:
    """Write means with their intervals as ``tools/test.py`` does.

    Args:
        folder: Folder of the baseline, with its records.
        content: What is needed to repeat them.
        names: Names of presets.

    Returns:
        Lines with the means in per cent.
    """
    records, lines = {}, []
    source = {
        key: content[key] for key in ('config', 'options', 'training', 'training_seed', 'commit')
    }
    for name in names:
        path = folder / 'records' / f'{name}.json'
        found = {'path': str(path), **stamp(path, source)}
        records[name] = found
        lines.append(f'{folder.name}, {name} v{found["version"]}, {found["num_images"]} images')
        for key, interval in found['summary'].items():
            mean = interval['mean']
            lines.append(f'  {key:18s} {"-" if mean is None else f"{100 * mean:.1f}"}')
    path = folder / 'scores.json'
    content = null_for_nan({**content, 'records': records})
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + '\n')
    return '\n'.join([*lines, f'Scores are in {path}, those of every image beside it in records.'])


def discovery_of(test_evaluator: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> dict:
    """The first config of an ``ObjectDiscoveryMetric`` among those of the evaluators.

    Raises:
        ValueError: If there is none.
    """
    configs = [test_evaluator] if isinstance(test_evaluator, Mapping) else test_evaluator
    for config in configs:
        kind = METRICS.get(config['type'])
        if kind is not None and issubclass(kind, ObjectDiscoveryMetric):
            return dict(config)
    raise ValueError(
        'Baselines are masks, so test_evaluator must be an ObjectDiscoveryMetric or a list with '
        f'one, got {[config["type"] for config in configs]}.'
    )


if __name__ == '__main__':
    main()
