"""Draw test images of a config: ``python tools/visualize.py CONFIG CHECKPOINT --out-dir FOLDER``.

Writes a picture an image, with the panels that are asked for below each other, and with
``--embedding`` the slots of all these images as points, ``slot_embedding.png``. What the panels
show is said in docs/pictures.md.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner, set_random_seed
from mmengine.utils import ProgressBar
from PIL import Image

from mmocl.apis import SlotInferencer
from mmocl.datasets.without_caches import without_caches
from mmocl.engine.hooks.slot_visualization_hook import seen_image
from mmocl.structures import SlotDataSample
from mmocl.visualization import PANELS, draw_panels, slot_crops, slot_embedding
from mmocl.visualization.drawing import Picture


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out-dir', required=True, help='folder for the pictures')
    parser.add_argument(
        '--panels', nargs='+', choices=list(PANELS), default=['scores', 'steps', 'grid']
    )
    parser.add_argument('--num-images', type=int, default=8, help='the first ones of the test set')
    parser.add_argument('--num-slots', type=int, help='slots of an image; those of the config')
    parser.add_argument('--num-iters', type=int, help='updates of the slots; those of the config')
    parser.add_argument(
        '--protocol', help="how 'scores' scores; as the config's first evaluator of masks"
    )
    parser.add_argument('--side', type=int, default=224, help='side of a tile in pixels')
    parser.add_argument('--embedding', action='store_true', help='draw the slots of all images too')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', help='such as cuda:0; the best one if not given')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    args = parser.parse_args()
    for name in ('num_images', 'side'):
        if getattr(args, name) < 1:
            option = name.replace('_', '-')
            raise ValueError(f'--{option} must be at least 1, got {getattr(args, name)}')

    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    model = SlotInferencer(cfg, args.checkpoint, args.device, show_progress=False).model
    set_random_seed(args.seed)
    protocol = args.protocol or protocol_of(cfg)
    out_dir = Path(args.out_dir)
    options = {'num_slots': args.num_slots, 'num_iters': args.num_iters}
    data = without_caches(cfg.test_dataloader.dataset)
    loader = Runner.build_dataloader({**cfg.test_dataloader, 'dataset': data})
    bar = ProgressBar(min(args.num_images, len(loader.dataset)))
    slots, active, crops = [], [], []
    for image, sample in predictions(model, loader, args.num_images, options):
        picture = draw_panels(image, sample, args.panels, protocol, args.side)
        out = out_dir / f'{sample.img_id}.png'
        out.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(out)
        if args.embedding:
            slots.append(sample.pred_slots.slots.float().numpy(force=True))
            active.append(sample.pred_slots.active.numpy(force=True))
            crops.append(slot_crops(image, sample))
        bar.update()
    print(f'\nPictures are in {out_dir}')
    if args.embedding:
        picture = slot_embedding(np.stack(slots), np.stack(active), crops)
        Image.fromarray(picture).save(out_dir / 'slot_embedding.png')


def protocol_of(cfg: Config) -> str | dict[str, Any]:
    """Protocol of the first evaluator that has one."""
    evaluators = cfg.get('test_evaluator') or []
    evaluators = [evaluators] if isinstance(evaluators, dict) else evaluators
    return next((one['protocol'] for one in evaluators if 'protocol' in one), 'square128')


@torch.no_grad()
def predictions(
    model: Any, loader: Any, num_images: int, options: dict[str, int | None]
) -> Iterator[tuple[Picture, SlotDataSample]]:
    """Images that the model saw and what it makes of them, with every update of the slots."""
    for batch in loader:
        inputs, samples = batch['inputs'][:num_images], batch['data_samples'][:num_images]
        num_images -= len(inputs)
        shown = model.data_preprocessor({'inputs': inputs})['inputs']
        predicted = model.predict(shown, samples, keep_steps=True, **options)
        for pixels, sample in zip(inputs, predicted, strict=True):
            yield seen_image(pixels, sample), sample
        if num_images == 0:
            return


if __name__ == '__main__':
    main()
