"""Score k-means on a config's tokens, and block masks, by its ``ObjectDiscoveryMetric``.

``python tools/score_baselines.py CONFIG --num-slots 7 --out-dir DIR`` prints both and
writes the scores of every image to ``kmeans.json`` and ``blocks.json``, for ``compare_records.py``.
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

from mmocl.evaluation.baselines import block_masks, kmeans_masks
from mmocl.evaluation.metrics import ObjectDiscoveryMetric
from mmocl.registry import DATASETS, METRICS, MODELS


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('--num-slots', type=int, help='clusters and blocks; those of the config')
    parser.add_argument('--seed', type=int, default=0, help='seed of k-means')
    parser.add_argument('--out-dir', default='work_dirs/baselines', help='folder for the scores')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    args = parser.parse_args()

    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)
    base = discovery_of(cfg.test_evaluator)
    MMLogger.get_instance('baselines')
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    model = MODELS.build(cfg.model).to(get_device()).eval()
    num_slots = args.num_slots or model.slot_head.initializer.num_slots

    metrics = {}
    for name in ('kmeans', 'blocks'):
        record = str(Path(args.out_dir) / f'{name}.json')
        evaluator = {**base, 'mask_sources': ['decoder'], 'record_path': record}
        metrics[name] = METRICS.build(evaluator)
    for i in track_iter_progress(range(len(dataset))):
        item = dataset[i]
        sample = item['data_samples']
        with torch.no_grad():
            features = model.extract(
                model.data_preprocessor({'inputs': [item['inputs']]})['inputs']
            )
        masks = {
            'kmeans': kmeans_masks(features.tokens[0], features.grid, num_slots, args.seed),
            'blocks': block_masks(num_slots, features.grid),
        }
        for name, metric in metrics.items():
            sample.pred_masks = PixelData(data=masks[name])
            metric.process(None, [sample.to_dict()])
    print()
    scores = {name: metric.evaluate(len(dataset)) for name, metric in metrics.items()}
    print(json.dumps(scores, indent=2))


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
