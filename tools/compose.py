"""Compose new scenes from slots of the training images: ``tools/compose.py CONFIG CHECKPOINT``.

Collects the aggregate posterior of the slots (PSA, arXiv:2406.07141) over the training data, draws
slots from it and decodes them. The picture shows test images for comparison (image, reconstruction,
masks), and below them composed scenes (scene, masks).
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
from mmocl.visualization import composition_grid, overview_tiles
from mmocl.visualization.drawing import Picture

# Pictures in a row, as many as the test images have, and their side in pixels.
WIDTH = 12
TILE = 128
NUM_REAL = 4


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
    picture = composition_grid(_scene_tiles(scenes), real, WIDTH, TILE)
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(args.out)
    print(f'Reconstructions (first row) and {args.num_scenes} composed scenes are in {args.out}')


@torch.no_grad()
def _real_tiles(cfg: Config, model: SlotAutoencoder) -> list[list[Picture]]:
    """Image, reconstruction and masks of the first test images."""
    batch = next(iter(Runner.build_dataloader(cfg.test_dataloader)))
    batch = {name: values[:NUM_REAL] for name, values in batch.items()}
    pictures = []
    for inputs, sample in zip(batch['inputs'], model.test_step(batch), strict=True):
        shown = SlotDataSample(pred_image=sample.pred_image)
        if 'pred_masks' in sample:
            shown.pred_masks = sample.pred_masks
        tiles = overview_tiles(seen_image(inputs, sample), shown, (TILE, TILE))
        pictures.append(list(tiles.values()))
    return pictures


def _scene_tiles(scenes: Scenes) -> list[list[Picture]]:
    """Scene and masks of every composed scene."""
    rows = []
    for i, image in enumerate(scenes.images):
        sample = SlotDataSample()
        if scenes.masks is not None:
            sample.pred_masks = PixelData(data=scenes.masks[i])
        tiles = overview_tiles(image.permute(1, 2, 0).numpy(), sample, (TILE, TILE))
        rows.append(list(tiles.values()))
    return rows


if __name__ == '__main__':
    main()
