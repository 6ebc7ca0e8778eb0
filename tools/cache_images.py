"""Decode and resize a config's images once, for training that reads no JPEGs.

``python tools/cache_images.py CONFIG --out DIR``; then train with ``--cfg-options
train_dataloader.dataset.image_cache=DIR``. Random crops and flips are drawn in training, as
without: what is kept is the image behind the resize of ``ResizeCrop``, of the whole file (not
decoded at a reduced scale). A run that was killed is taken up by the same command.
"""

from __future__ import annotations

import os

from cache_tool import cache_parser, image_files, read_config, run_tool, usual_shard_size
from PIL import Image
from shard_processes import Make, write_shards

from mmocl.datasets.image_cache import PIXELS_VERSION, resize_steps
from mmocl.datasets.resized_images import ResizedImages, pack_resized
from mmocl.datasets.shards import ShardPlan, ShardWriter
from mmocl.version import __version__

# Images that say how large the others are.
_SAMPLE = 8


def main() -> None:
    args = cache_parser(__doc__, processes='one for every CPU').parse_args()
    _, settings = read_config(args)
    paths, sizes = image_files(settings, f'{args.split}_dataloader.dataset')
    steps = resize_steps(settings.pipeline)
    images = ResizedImages(paths, steps)
    key = {'steps': steps, 'version': PIXELS_VERSION}
    made_with = {'pillow': Image.__version__, 'mmocl': __version__}
    names = list(sizes)
    shard_size = args.shard_size or usual_shard_size(len(names))
    plan = ShardPlan('images', key, names, sizes, shard_size, {}, made_with)
    writer = ShardWriter(args.out, plan)
    num_processes = args.num_processes or os.cpu_count() or 1
    write_shards(writer, images, start_packing, (), 16, num_processes, 0, _image_bytes(images))
    print(f'{len(names)} images: {args.out}')


def start_packing(number: int) -> Make:
    """See ``write_shards``."""
    return lambda batches: pack_resized([item for batch in batches for item in batch])


def _image_bytes(images: ResizedImages) -> float:
    """Mean bytes of a resized image, of a few."""
    items = [images[i] for i in range(0, len(images), -(-len(images) // _SAMPLE))]
    found = [item['img'].size for item in items if isinstance(item, dict)]
    return sum(found) / max(1, len(found))


if __name__ == '__main__':
    run_tool(main)
