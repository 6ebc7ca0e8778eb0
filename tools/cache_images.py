"""Decode and resize a config's images once, for training that reads no JPEGs.

``python tools/cache_images.py CONFIG --out DIR``; then train with ``--cfg-options
train_dataloader.dataset.image_cache=DIR``. Random crops and flips are drawn in training, as
without: what is kept is the image behind the resize of ``ResizeCrop``, of the whole file (not
decoded at a reduced scale). A run that was killed is taken up by the same command.
"""

from __future__ import annotations

import argparse
import os

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from PIL import Image
from shard_processes import Make, image_files, write_shards

from mmocl.datasets.image_cache import resize_steps
from mmocl.datasets.resized_images import ResizedImages, pack_resized
from mmocl.datasets.shards import ShardPlan, ShardWriter
from mmocl.version import __version__


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', required=True, help='folder to write')
    parser.add_argument(
        '--split', choices=['train', 'val', 'test'], default='train', help='which dataloader'
    )
    parser.add_argument('--shard-size', type=int, default=1024, help='images a file')
    parser.add_argument('--num-processes', type=int, help='default: one for every CPU')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    args = parser.parse_args()
    if args.shard_size < 1:
        parser.error('--shard-size must be at least 1')

    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)
    settings = cfg[f'{args.split}_dataloader'].dataset
    source = image_files(settings, f'{args.split}_dataloader.dataset')
    infos = [source.get_data_info(i) for i in range(len(source))]
    names = [source.relative_name(info) for info in infos]
    steps = resize_steps(settings.pipeline)
    images = ResizedImages([info['img_path'] for info in infos], steps)
    key = {'steps': steps, 'mmocl': __version__}
    made_with = {'pillow': Image.__version__}
    writer = ShardWriter(args.out, ShardPlan('images', key, names, args.shard_size, {}, made_with))
    num_processes = args.num_processes or os.cpu_count() or 1
    write_shards(writer, images, start_packing, (), 16, num_processes, 0)
    print(f'{len(names)} images: {args.out}')


def start_packing(number: int) -> Make:
    """See ``write_shards``."""
    return lambda batches: pack_resized([item for batch in batches for item in batch])


if __name__ == '__main__':
    main()
