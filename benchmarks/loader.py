"""Images/s of the training loader alone, on JPEGs of COCO to 224x224 (or tokens of a ViT-B/16).

One process, batches of 32, random crops and flips, no model. "Full size and masks" decodes the
whole JPEG and all masks of its objects, as a loader does that serves training and evaluation
alike. "Reduced scale" decodes as few pixels as the crop needs, and "PyTorch" also resizes by it, as
the configs do; pixels differ a little (``LoadImage``, ``ResizeCrop``). The image cache has the
pixels of full size, resized by PyTorch. Files are read once before, and so come from memory.
Data is ``coco`` in the folder ``$MMOCL_DATA``, at most 256 images of it; without it, JPEGs of noise
of COCO's usual size with seven boxes each.
"""

import json
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import MMLogger
from PIL import Image
from torch.utils.data import DataLoader

from benchmarks.measure import Setting, compare
from mmocl.datasets import CocoObjects, stack_inputs
from mmocl.datasets.cache_views import view_steps
from mmocl.datasets.feature_cache import TOKENS_VERSION
from mmocl.datasets.image_cache import PIXELS_VERSION, resize_steps
from mmocl.datasets.resized_images import ResizedImages, pack_resized
from mmocl.datasets.shards import ShardPlan, ShardWriter

SPLIT = 'train2017'
BATCH = 32
MOST_IMAGES = 256
MASKS = 'full size and masks'
TOKENS = (196, 768)


def run(setting: Setting) -> list[dict[str, Any]]:
    """Compare the loaders on the same images."""
    MMLogger.get_instance('benchmark', log_level='ERROR')
    with tempfile.TemporaryDirectory() as folder:
        return _run(setting, Path(folder))


def _run(setting: Setting, folder: Path) -> list[dict[str, Any]]:
    real = Path(os.environ.get('MMOCL_DATA', 'data'), 'coco')
    is_real = (real / 'annotations' / f'instances_{SPLIT}.json').is_file() and not setting.tiny
    if not is_real:
        generate(folder / 'coco', *((4, (40, 60)) if setting.tiny else (64, (480, 640))))
    root = real if is_real else folder / 'coco'
    size = 16 if setting.tiny else 224
    full, reduced = pipeline(size), pipeline(size, min_side=size, backend='torch')
    masks = [full[0], {'type': 'LoadObjectMasks'}, *full[1:-1], drop_masks, full[-1]]
    # All of COCO would be cached first, twice.
    indices = list(range(min(MOST_IMAGES, len(CocoObjects(root, SPLIT)))))
    data = partial(CocoObjects, root, SPLIT, indices=indices)
    plain = data(full)
    names = [plain.relative_name(plain.get_data_info(i)) for i in range(len(plain))]
    paths = [str(root / name) for name in names]
    cache_images(folder / 'images', names, paths, reduced)
    cache_tokens(folder / 'tokens', names, reduced)
    loaders = {
        MASKS: data(masks, test_mode=True),
        'full size': plain,
        'reduced scale': data(pipeline(size, min_side=size)),
        'reduced scale, PyTorch (ours)': data(reduced),
        'image cache (ours)': data(reduced, image_cache=folder / 'images'),
        'feature cache (ours)': data(reduced, token_cache=folder / 'tokens'),
    }
    calls: dict[str, Callable[[], object]] = {
        name: partial(read, dataset) for name, dataset in loaders.items()
    }
    rows = compare(calls, setting, MASKS, images=len(names), memory=False, flop=False)
    about = {'images': len(names), 'data': 'COCO' if is_real else 'generated'}
    return [{**row, **about} for row in rows]


def pipeline(size: int, min_side: int | None = None, backend: str = 'pillow') -> list[dict]:
    """Transforms of training."""
    return [
        {'type': 'LoadImage', 'min_side': min_side},
        {'type': 'ResizeCrop', 'size': size, 'crop': 'random', 'backend': backend},
        {'type': 'RandomFlip', 'prob': 0.5},
        {'type': 'PackSlotInputs'},
    ]


def drop_masks(results: dict[str, Any]) -> dict[str, Any]:
    """Forget the ground truth, which a moved image does not fit; decoding it is what counts."""
    del results['gt_objects']
    return results


def read(dataset: CocoObjects) -> None:
    """Load all images once."""
    for _ in DataLoader(dataset, BATCH, collate_fn=stack_inputs):
        pass


def cache_images(folder: Path, names: list[str], paths: list[str], steps: list[dict]) -> None:
    """Write what ``tools/cache_images.py`` would."""
    key = {'steps': resize_steps(steps), 'version': PIXELS_VERSION}
    images = ResizedImages(paths, key['steps'])
    plan = ShardPlan('images', key, names, {}, 64, {}, {})
    writer = ShardWriter(folder, plan)
    for shard in writer.pending():
        writer.write(shard, pack_resized([images[i] for i in plan.rows(shard)]))
    writer.finish()


def cache_tokens(folder: Path, names: list[str], steps: list[dict]) -> None:
    """Write random tokens in the form of ``tools/cache_features.py``."""
    views = [{'name': 'center', 'steps': view_steps(steps, 'center')}]
    key = {'views': views, 'version': TOKENS_VERSION}
    layout = {'grid': [14, 14], 'channels': TOKENS[1]}
    plan = ShardPlan('features', key, names, {}, 64, layout, {})
    writer = ShardWriter(folder, plan)
    for shard in writer.pending():
        count = len(plan.rows(shard))
        tokens = torch.randn(count, 1, *TOKENS).bfloat16()
        shapes = torch.full((count, 2), 224, dtype=torch.int32)
        writer.write(shard, {'tokens': tokens, 'file_shape': shapes})
    writer.finish()


def generate(root: Path, num_images: int, size: tuple[int, int]) -> None:
    """Write JPEGs of coarse noise, and annotations with seven boxes each, in COCO's layout."""
    height, width = size
    rng = np.random.default_rng(0)
    (root / SPLIT).mkdir(parents=True)
    (root / 'annotations').mkdir()
    images, annotations = [], []
    for i in range(num_images):
        noise = rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8)
        name = f'{i}.jpg'
        image = Image.fromarray(noise).resize((width, height))
        image.save(root / SPLIT / name, quality=90)
        images.append({'id': i, 'file_name': name, 'height': height, 'width': width})
        for k in range(7):
            left, top = k * width // 10, k * height // 10
            right, bottom = left + width // 4, top + height // 4
            box = [left, top, right, top, right, bottom, left, bottom]
            annotations.append(
                {'id': 7 * i + k, 'image_id': i, 'category_id': 1, 'segmentation': [box]}
            )
    content = {'images': images, 'annotations': annotations, 'categories': []}
    (root / 'annotations' / f'instances_{SPLIT}.json').write_text(json.dumps(content))
