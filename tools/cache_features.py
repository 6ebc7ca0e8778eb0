"""Run a config's frozen backbone once over a data set and keep its tokens.

``python tools/cache_features.py CONFIG --out DIR``; then train on them with ``--cfg-options
train_dataloader.dataset.token_cache=DIR``. A run that was killed is taken up by the same command,
and gives the same bytes as one that was not. Views: ``center`` leaves out random steps and crops at
the centre, ``flip`` is its mirror image, ``random`` is the pipeline of the config with a seed of
its own for every image; give it several times for several draws.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

import timm
import torch
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from PIL import Image
from shard_processes import Make, image_files, write_shards
from torch import Tensor

from mmocl.datasets import ViewImages
from mmocl.datasets.cache_views import VIEWS, view_steps
from mmocl.datasets.shards import ShardPlan, ShardWriter
from mmocl.datasets.transforms import CorruptImageError
from mmocl.models.backbones import TimmBackbone
from mmocl.models.model_key import model_key
from mmocl.registry import MODELS
from mmocl.version import __version__


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', required=True, help='folder to write')
    parser.add_argument(
        '--split', choices=['train', 'val', 'test'], default='train', help='which dataloader'
    )
    parser.add_argument('--views', nargs='+', choices=VIEWS, default=['center'])
    parser.add_argument('--seed', type=int, default=0, help='of random views')
    parser.add_argument('--batch-size', type=int, default=16, help='images a batch')
    parser.add_argument('--bf16', action='store_true', help='run the backbone in bfloat16')
    parser.add_argument('--shard-size', type=int, default=512, help='images a file')
    parser.add_argument(
        '--num-processes',
        type=int,
        help='default: one for every GPU; on a CPU, where a process takes one thread, for every '
        'thread of PyTorch',
    )
    parser.add_argument(
        '--num-workers', type=int, help='loading processes each; default: 4 on GPUs'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    args = parser.parse_args()
    for name in ('batch_size', 'shard_size'):
        if getattr(args, name) < 1:
            parser.error(f'--{name.replace("_", "-")} must be at least 1')
    for view in ('center', 'flip'):
        if args.views.count(view) > 1:
            parser.error(f'--views has {view} twice; only random ones differ')
    return args


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)
    on_gpu = torch.cuda.is_available()
    backbone = MODELS.build(cfg.model.backbone)
    if not isinstance(backbone, TimmBackbone):
        raise ValueError(
            'Only the tokens of a frozen TimmBackbone stay valid in a cache, but model.backbone is '
            f'a {type(backbone).__name__}.'
        )
    model = model_key(backbone, MODELS.build(cfg.model.data_preprocessor))

    settings = cfg[f'{args.split}_dataloader'].dataset
    source = image_files(settings, f'{args.split}_dataloader.dataset')
    infos = [source.get_data_info(i) for i in range(len(source))]
    names = [source.relative_name(info) for info in infos]
    views = [{'name': v, 'steps': view_steps(settings.pipeline, v)} for v in args.views]
    images = ViewImages([info['img_path'] for info in infos], names, views, args.seed)

    weights = backbone.state_dict()
    # Spawned processes need no checkpoint: they get these.
    config = {**cfg.model.backbone, 'checkpoint': None, 'pretrained': False}
    arguments = (config, weights, cfg.model.data_preprocessor, args.bf16, cfg.default_scope)
    layout = _layout(images, *arguments)
    key = {
        **model,
        'views': views,
        'seed': args.seed if 'random' in args.views else None,
        'image_size': layout.pop('image_size'),
        'precision': 'bf16' if args.bf16 else 'fp32',
        'mmocl': __version__,
    }
    made_with = {
        'batch_size': args.batch_size,
        'device': 'cuda' if on_gpu else 'cpu',
        'torch': torch.__version__,
        'timm': timm.__version__,
        'pillow': Image.__version__,
    }
    writer = ShardWriter(
        args.out, ShardPlan('features', key, names, args.shard_size, layout, made_with)
    )
    num_processes = args.num_processes or (
        torch.cuda.device_count() if on_gpu else torch.get_num_threads()
    )
    num_workers = args.num_workers if args.num_workers is not None else 4 * on_gpu
    write_shards(
        writer, images, start_backbone, arguments, args.batch_size, num_processes, num_workers
    )
    print(
        f'{len(names)} images, views {args.views}, grid {layout["grid"]}, {layout["channels"]} '
        f'channels: {args.out}'
    )


def start_backbone(
    number: int,
    config: dict[str, Any],
    weights: dict[str, Tensor],
    preprocessor: dict[str, Any],
    bf16: bool,
    scope: str,
) -> Make:
    """Build the backbone in a process; see ``write_shards``."""
    init_default_scope(scope)
    device = 'cpu'
    if torch.cuda.is_available():
        device = f'cuda:{number % torch.cuda.device_count()}'
    else:
        # The last bits depend on the number of threads, which must not on that of processes.
        torch.set_num_threads(1)
    backbone = MODELS.build(config)
    backbone.load_state_dict(weights)
    backbone = backbone.to(device).eval()
    preprocess = MODELS.build(preprocessor).to(device)

    @torch.no_grad()
    def make(batches: Iterable[list[dict]]) -> dict[str, Tensor]:
        tokens, shapes = [], []
        for batch in batches:
            images = torch.stack([item['images'] for item in batch])
            inputs = preprocess({'inputs': images.flatten(0, 1)})['inputs']
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=bf16):
                found = backbone(inputs).tokens
            found = found.to(torch.bfloat16).cpu()
            tokens.append(found.unflatten(0, images.shape[:2]))
            shapes += [item['file_shape'] for item in batch]
        if not tokens:
            return {}
        return {
            'tokens': torch.cat(tokens),
            'file_shape': torch.tensor(shapes, dtype=torch.int32),
        }

    return make


def _layout(images: ViewImages, *arguments: Any) -> dict[str, Any]:
    """Sizes of images and tokens, from the first image that is not corrupt."""
    for index in range(len(images)):
        item = images[index]
        if not isinstance(item, CorruptImageError):
            break
    else:
        raise item
    config, weights, preprocessor, bf16, _ = arguments
    backbone = MODELS.build(config)
    backbone.load_state_dict(weights)
    inputs = MODELS.build(preprocessor)({'inputs': item['images'][:1]})['inputs']
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16, enabled=bf16):
        features = backbone(inputs)
    return {
        'grid': list(features.grid),
        'channels': features.tokens.shape[2],
        'image_size': list(inputs.shape[2:]),
    }


if __name__ == '__main__':
    main()
