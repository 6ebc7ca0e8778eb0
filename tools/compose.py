"""Compose new scenes from slots of the training images: ``tools/compose.py CONFIG CHECKPOINT``.

Collects the aggregate posterior of the slots (PSA, arXiv:2406.07141) over the training data, draws
slots from it and decodes them. The first row of the picture shows test images for comparison
(input, reconstruction, masks), the others composed scenes (scene, masks).
"""

import argparse
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner, set_random_seed
from mmengine.structures import PixelData
from PIL import Image

from mmocl.apis import AggregatePosterior, SlotInferencer, compose_scenes, fit_posterior
from mmocl.apis.composition import Scenes, require_images
from mmocl.engine.hooks.slot_visualization_hook import seen_image
from mmocl.models import SlotAutoencoder
from mmocl.structures import SlotDataSample
from mmocl.visualization.drawing import Picture, contact_sheet
from mmocl.visualization.slot_visualizer import tiles

# Three pictures a test image, two a scene: both rows have twelve.
NUM_REAL = 4
SCENES_PER_ROW = 6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', required=True, help='picture to write')
    parser.add_argument(
        '--posterior', help='.safetensors file of the posterior: read if it exists, else written'
    )
    parser.add_argument('--num-scenes', type=int, default=16)
    parser.add_argument('--num-slots', type=int, help='slots of a scene; those of the config')
    parser.add_argument('--num-images', type=int, help='images to collect slots of; all of them')
    parser.add_argument(
        '--equal-weights',
        action='store_true',
        help='draw small slots as often as large ones; the paper draws by share of tokens',
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    args = parser.parse_args()

    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    model = SlotInferencer(cfg, args.checkpoint, show_progress=False).model
    require_images(model)  # before hours of streaming
    set_random_seed(args.seed)
    real = _real_tiles(cfg, model)  # first: the same ones whether slots are collected or read
    if args.posterior and Path(args.posterior).is_file():
        posterior = AggregatePosterior.load(args.posterior)
        print(f'Slots of {posterior.num_images} images are read from {args.posterior}')
    else:
        loader = Runner.build_dataloader(cfg.train_dataloader, seed=args.seed)
        posterior = fit_posterior(model, loader, args.num_images)
        print(f'\nSlots of {posterior.num_images} images are collected')
        if args.posterior:
            posterior.save(args.posterior)
    generator = torch.Generator().manual_seed(args.seed)
    scenes = compose_scenes(
        model, posterior, args.num_scenes, args.num_slots, generator, args.equal_weights
    )
    pictures = [picture for row in _scene_tiles(scenes) for picture in row]
    width = SCENES_PER_ROW * (1 if scenes.masks is None else 2)
    rows = [pictures[i : i + width] for i in range(0, len(pictures), width)]
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(contact_sheet([real, *rows])).save(args.out)
    print(f'Reconstructions (first row) and {args.num_scenes} composed scenes are in {args.out}')


@torch.no_grad()
def _real_tiles(cfg: Config, model: SlotAutoencoder) -> list[Picture]:
    """Input, reconstruction and masks of the first test images."""
    batch = next(iter(Runner.build_dataloader(cfg.test_dataloader)))
    batch = {name: values[:NUM_REAL] for name, values in batch.items()}
    pictures = []
    for inputs, sample in zip(batch['inputs'], model.test_step(batch), strict=True):
        shown = SlotDataSample(pred_image=sample.pred_image)
        if 'pred_masks' in sample:
            shown.pred_masks = sample.pred_masks
        pictures += tiles(seen_image(inputs, sample), shown)
    return pictures


def _scene_tiles(scenes: Scenes) -> list[list[Picture]]:
    """Scene and masks of every composed scene."""
    rows = []
    for i, image in enumerate(scenes.images):
        sample = SlotDataSample()
        if scenes.masks is not None:
            sample.pred_masks = PixelData(data=scenes.masks[i])
        rows.append(tiles(image.permute(1, 2, 0).numpy(), sample))
    return rows


if __name__ == '__main__':
    main()
