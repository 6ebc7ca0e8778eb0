"""Run a config's frozen backbone once over a data set and keep its tokens.

``python tools/cache_features.py CONFIG --out DIR``; then train on them with ``--cfg-options
train_dataloader.dataset.token_cache=DIR``. A run that was killed is taken up by the same command,
and gives the same bytes as one that was not. Views: ``center`` leaves out random steps and crops at
the centre, ``flip`` is its mirror image, ``random`` is the pipeline of the config with a seed of
its own for every image; give it several times for several draws.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from typing import Any

import timm
import torch
from cache_tool import (
    at_least,
    cache_parser,
    image_files,
    read_config,
    run_tool,
    usual_shard_size,
)
from mmengine.registry import init_default_scope
from PIL import Image
from shard_processes import Make, corrupt_image, write_shards
from torch import Tensor, nn

from mmocl.datasets import ViewImages
from mmocl.datasets.cache_views import VIEWS, dropped_steps, view_steps
from mmocl.datasets.feature_cache import TOKENS_VERSION
from mmocl.datasets.shards import ShardPlan, ShardWriter
from mmocl.datasets.transforms import CorruptImageError
from mmocl.models.backbones import TimmBackbone
from mmocl.models.model_key import model_key
from mmocl.registry import MODELS
from mmocl.version import __version__


def parse_args() -> argparse.Namespace:
    parser = cache_parser(
        __doc__,
        processes='one for every GPU; on a CPU, where a process takes one thread, for every thread '
        'of PyTorch',
    )
    parser.add_argument('--views', nargs='+', choices=VIEWS, default=['center'])
    parser.add_argument('--seed', type=int, default=0, help='of random views')
    parser.add_argument('--batch-size', type=at_least(1), default=16, help='images a batch')
    parser.add_argument('--bf16', action='store_true', help='run the backbone in bfloat16')
    parser.add_argument(
        '--num-workers', type=at_least(0), help='loading processes each; default: 4 on GPUs'
    )
    args = parser.parse_args()
    for view in ('center', 'flip'):
        if args.views.count(view) > 1:
            parser.error(f'--views has {view} twice; only random ones differ')
    return args


def main() -> None:
    args = parse_args()
    cfg, settings = read_config(args)
    on_gpu = torch.cuda.is_available()
    backbone = MODELS.build(cfg.model.backbone)
    if not isinstance(backbone, TimmBackbone):
        raise ValueError(
            'Only the tokens of a frozen TimmBackbone stay valid in a cache, but model.backbone is '
            f'a {type(backbone).__name__}.'
        )
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    model = model_key(backbone, preprocessor)

    paths, sizes = image_files(settings, f'{args.split}_dataloader.dataset')
    names = list(sizes)
    views = [{'name': v, 'steps': view_steps(settings.pipeline, v)} for v in args.views]
    dropped = dropped_steps(settings.pipeline, args.views)
    if dropped is not None:
        print(f'Note: {dropped}.')
    images = ViewImages(paths, names, views, args.seed)
    layout = _layout(images[0], backbone, preprocessor, args.bf16)
    key = {
        **model,
        'views': views,
        'seed': args.seed if 'random' in args.views else None,
        'image_size': layout.pop('image_size'),
        'precision': 'bf16' if args.bf16 else 'fp32',
        'version': TOKENS_VERSION,
    }
    made_with = {
        'batch_size': args.batch_size,
        'device': 'cuda' if on_gpu else 'cpu',
        'mmocl': __version__,
        'torch': torch.__version__,
        'timm': timm.__version__,
        'pillow': Image.__version__,
    }
    shard_size = args.shard_size or usual_shard_size(len(names))
    plan = ShardPlan('features', key, names, sizes, shard_size, layout, made_with)
    writer = ShardWriter(args.out, plan)
    num_processes = args.num_processes or (
        torch.cuda.device_count() if on_gpu else torch.get_num_threads()
    )
    num_workers = args.num_workers if args.num_workers is not None else 4 * on_gpu
    write_shards(
        writer,
        images,
        start_backbone,
        (SentBackbone(backbone, cfg.model.backbone, cfg.default_scope), preprocessor, args.bf16),
        args.batch_size,
        num_processes,
        num_workers,
        2 * len(views) * math.prod(layout['grid']) * layout['channels'],
    )
    print(
        f'{len(names)} images, views {args.views}, grid {layout["grid"]}, {layout["channels"]} '
        f'channels: {args.out}'
    )


class SentBackbone:
    """A backbone that another process makes anew, without its checkpoint.

    One with ``position_resize='plain'`` could not be pickled.

    Args:
        module: The backbone.
        config: What it was built of.
        scope: The registry's.
    """

    def __init__(self, module: nn.Module, config: dict[str, Any], scope: str) -> None:
        self.module = module
        self.config = config
        self.scope = scope

    def __reduce__(self) -> tuple:
        config = {**self.config, 'checkpoint': None, 'pretrained': False}
        return _received, (self.module.state_dict(), config, self.scope)


def _received(weights: dict[str, Tensor], config: dict[str, Any], scope: str) -> SentBackbone:
    init_default_scope(scope)
    module = MODELS.build(config)
    module.load_state_dict(weights)
    return SentBackbone(module, config, scope)


def start_backbone(number: int, sent: SentBackbone, preprocess: nn.Module, bf16: bool) -> Make:
    """Prepare the backbone in a process; see ``write_shards``."""
    device = 'cpu'
    if torch.cuda.is_available():
        device = f'cuda:{number % torch.cuda.device_count()}'
    else:
        # The last bits depend on the number of threads, which must not on that of processes.
        torch.set_num_threads(1)
    backbone = sent.module.to(device).eval()
    preprocess = preprocess.to(device)

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
        return {
            'tokens': torch.cat(tokens),
            'file_shape': torch.tensor(shapes, dtype=torch.int32),
        }

    return make


def _layout(
    item: dict[str, Any] | CorruptImageError,
    backbone: nn.Module,
    preprocess: nn.Module,
    bf16: bool,
) -> dict[str, Any]:
    """Sizes of images and tokens, from the first image."""
    if isinstance(item, CorruptImageError):
        raise corrupt_image(item)
    inputs = preprocess({'inputs': item['images'][:1]})['inputs']
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16, enabled=bf16):
        features = backbone(inputs)
    return {
        'grid': list(features.grid),
        'channels': features.tokens.shape[2],
        'image_size': list(inputs.shape[2:]),
    }


if __name__ == '__main__':
    run_tool(main)
