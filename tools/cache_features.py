"""Run a config's frozen backbone once over a dataset and write its tokens to one file.

``python tools/cache_features.py CONFIG train tokens.npz``; then train on them with
``--cfg-options train_dataloader.dataset.token_cache=tokens.npz``. The views are the deterministic
ones: no flips, and centre crops where the config crops at random.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.utils import track_iter_progress

from mmocl.registry import DATASETS, MODELS


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('split', choices=['train', 'val', 'test'], help='which of its dataloaders')
    parser.add_argument('out', help='the .npz file to write')
    parser.add_argument('--batch-size', type=int, default=16)
    parser.add_argument('--bf16', action='store_true', help='run the backbone in bfloat16')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    args = parser.parse_args()

    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)
    if not cfg.model.backbone.get('frozen', True) or cfg.model.backbone.type != 'TimmBackbone':
        raise ValueError('Only the tokens of a frozen TimmBackbone stay valid in a cache.')
    if not isinstance(cfg.model.backbone.get('block', -1), int):
        raise ValueError(
            'A cache holds the tokens of one block, but model.backbone.block is several.'
        )
    device = get_device()
    backbone = MODELS.build(cfg.model.backbone).to(device)
    preprocess = MODELS.build(cfg.model.data_preprocessor).to(device)
    dataset = DATASETS.build(_deterministic(cfg[f'{args.split}_dataloader'].dataset))

    tokens = []
    grid = (0, 0)
    starts = range(0, len(dataset), args.batch_size)
    for start in track_iter_progress(starts):
        stop = min(start + args.batch_size, len(dataset))
        images = [dataset[i]['inputs'] for i in range(start, stop)]
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=args.bf16):
            features = backbone(preprocess({'inputs': images})['inputs'])
        tokens.append(features.tokens.half().cpu().numpy())
        grid = features.grid
    if dataset.num_corrupt:
        # Training replaces such an image by another one, which would be cached under its name.
        raise ValueError(f'{dataset.num_corrupt} images are corrupt, see above; remove them.')
    names = [dataset.relative_name(dataset.get_data_info(i)) for i in range(len(dataset))]
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    # Not compressed, so that it can be mapped.
    np.savez(args.out, tokens=np.concatenate(tokens), grid=np.array(grid), names=np.array(names))
    print(f'\n{len(names)} images, grid {grid}, {backbone.out_channels} channels: {args.out}')


def _deterministic(dataset: ConfigDict) -> ConfigDict:
    """The dataset with the same view of an image every time, and without its masks."""
    dataset = dataset.copy()
    dataset.token_cache = None
    dataset.test_mode = False
    keep = [step for step in dataset.pipeline if step.type not in ('RandomFlip', 'LoadObjectMasks')]
    for step in keep:
        if step.type == 'ResizeCrop' and step.get('crop') == 'random':
            step.crop = 'center'
    dataset.pipeline = keep
    return dataset


if __name__ == '__main__':
    main()
