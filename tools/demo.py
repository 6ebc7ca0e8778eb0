"""Train and score a config, the embedded default if none is named, and write a picture.

Writes ``metrics.json`` (trained and untrained model, scored in the same run, and what is needed to
repeat it; ``tools/results.py record`` reads it) and ``masks.png`` (rows: images; columns: input,
reconstruction, decoder masks, attention, true masks). ``make demo`` runs it.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner
from PIL import Image
from provenance import command_of, current_commit, hardware

from mmocl.engine.hooks.slot_visualization_hook import seen_image
from mmocl.visualization import overview_tiles
from mmocl.visualization.layout import titled_grid

# Side of a picture in masks.png in pixels.
TILE = 128
# Names of what is printed.
HEADLINES = {
    'fg/iou': 'foreground IoU',
    'fg/attn_iou': 'foreground IoU of attention',
    'ocl/fg_ari': 'FG-ARI',
    'ocl/attn_fg_ari': 'FG-ARI of attention',
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config', default='configs/psa/psa_conv_sprites.py')
    parser.add_argument('--work-dir', default='work_dirs/demo')
    parser.add_argument('--num-images', type=int, default=8, help='rows of the picture')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    args = parser.parse_args()

    cfg = Config.fromfile(args.config)
    cfg.work_dir = args.work_dir
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    commit = current_commit()  # of the code that runs, not of what is checked out when it ends
    runner = Runner.from_cfg(cfg)
    untrained = runner.test()
    start = time.perf_counter()
    runner.train()
    seconds = time.perf_counter() - start
    trained = runner.test()

    work_dir = Path(args.work_dir)
    headline = headline_of(trained)
    metrics = {
        'config': args.config,
        'command': command_of(sys.argv, os.environ),
        'commit': commit,
        'hardware': hardware(),
        'data': dict(cfg.test_dataloader.dataset),
        **protocols_of(runner.test_loop.evaluator.metrics),
        'seed': runner.seed,
        'steps': runner.iter,
        'train_seconds': round(seconds, 1),
        'headline': headline.replace('/', '_'),
        **_scores(trained),
        **_scores(untrained, 'untrained_'),
    }
    text = json.dumps(metrics, indent=2, allow_nan=False)
    (work_dir / 'metrics.json').write_text(text + '\n')
    _draw(runner, args.num_images, work_dir / 'masks.png')
    print(
        f'{HEADLINES.get(headline, headline)} {trained[headline]:.3f} '
        f'(untrained {untrained[headline]:.3f}); '
        f'see {work_dir / "metrics.json"} and {work_dir / "masks.png"}'
    )


def headline_of(metrics: Iterable[str]) -> str:
    """Name of the metric that stands for a run; the first one if none is known.

    Foreground IoU goes first: where it is asked for, images have one object, and then FG-ARI is
    only 0 or 1. Else the order is that of the evaluators.
    """
    names = list(metrics)
    known = [name for name in names if name in HEADLINES]
    return next((name for name in known if name.startswith('fg/')), (known or names)[0])


def protocols_of(metrics: Sequence[BaseMetric]) -> dict[str, str | None]:
    """Protocols that the evaluators score under, and their versions, without repetition."""
    protocols = {m.protocol.name: m.protocol for m in metrics if hasattr(m, 'protocol')}
    if not protocols:
        return {'protocol': None, 'protocol_version': None}
    versions = (str(protocol.version) for protocol in protocols.values())
    return {'protocol': ', '.join(protocols), 'protocol_version': ', '.join(versions)}


def _scores(metrics: Mapping[str, float], prefix: str = '') -> dict[str, float | None]:
    """Metrics under flat names, with None for nan, which JSON does not know."""
    return {
        f'{prefix}{name.replace("/", "_")}': None if math.isnan(value) else value
        for name, value in metrics.items()
    }


def _draw(runner: Runner, num_images: int, path: Path) -> None:
    """Draw the first test images."""
    batch = next(iter(runner.test_dataloader))
    samples = runner.model.test_step(batch)
    pairs = list(zip(batch['inputs'], samples, strict=True))[:num_images]
    rows = [
        overview_tiles(seen_image(inputs, sample), sample, size=(TILE, TILE))
        for inputs, sample in pairs
    ]
    grid = titled_grid([list(row.values()) for row in rows], list(rows[0]), tile=(TILE, TILE))
    Image.fromarray(grid).save(path)


if __name__ == '__main__':
    main()
