"""Train and score the embedded default, and write a picture: what ``make demo`` runs.

Writes ``metrics.json`` (trained and untrained model, scored in the same run) and ``masks.png``
(rows: images; columns: input, reconstruction, decoder masks, attention, true masks).
"""

import argparse
import json
import time
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.runner import Runner
from PIL import Image

from mmocl.engine.hooks.slot_visualization_hook import seen_image
from mmocl.visualization.drawing import contact_sheet
from mmocl.visualization.slot_visualizer import tiles


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
    runner = Runner.from_cfg(cfg)
    untrained = runner.test()
    start = time.perf_counter()
    runner.train()
    seconds = time.perf_counter() - start
    trained = runner.test()

    work_dir = Path(args.work_dir)
    metrics = {
        'config': args.config,
        'data': dict(cfg.test_dataloader.dataset),
        'protocol': cfg.test_evaluator.protocol,
        'seed': runner.seed,
        'steps': runner.iter,
        'train_seconds': round(seconds, 1),
        **{name.replace('/', '_'): value for name, value in trained.items()},
        **{f'untrained_{name.replace("/", "_")}': value for name, value in untrained.items()},
    }
    (work_dir / 'metrics.json').write_text(json.dumps(metrics, indent=2) + '\n')
    _draw(runner, args.num_images, work_dir / 'masks.png')
    # A decoder without masks is scored by the attention alone.
    score = 'ocl_fg_ari' if 'ocl_fg_ari' in metrics else 'ocl_attn_fg_ari'
    print(
        f'FG-ARI {metrics[score]:.3f} (untrained {metrics[f"untrained_{score}"]:.3f}); '
        f'see {work_dir / "metrics.json"} and {work_dir / "masks.png"}'
    )


def _draw(runner: Runner, num_images: int, path: Path) -> None:
    """Draw the first test images."""
    batch = next(iter(runner.test_dataloader))
    samples = runner.model.test_step(batch)
    pairs = list(zip(batch['inputs'], samples, strict=True))[:num_images]
    rows = [tiles(seen_image(inputs, sample), sample) for inputs, sample in pairs]
    Image.fromarray(contact_sheet(rows)).save(path)


if __name__ == '__main__':
    main()
