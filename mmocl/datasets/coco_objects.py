from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from mmocl.datasets.feature_cache import CacheSettings
from mmocl.datasets.object_dataset import ObjectDataset, require_images
from mmocl.registry import DATASETS


@DATASETS.register_module()
class CocoObjects(ObjectDataset):
    """COCO's raw folders: ``{split}/`` and ``annotations/instances_{split}.json``.

    All images of the json are kept, also those without objects: the evaluation protocol decides.
    In training the annotations are dropped as soon as the json is read.

    Args:
        data_root: Folder that holds the two.
        split: ``'train2017'``, ``'val2017'``, or any other name with both.
        pipeline: Transforms, as configs or callables.
        test_mode: Whether to list ground truth.
        token_cache: See ``ObjectDataset``.
        image_cache: See ``ObjectDataset``.
        indices: Keep these images only; an int n means the first n.

    Raises:
        FileNotFoundError: If a folder, the json or images of it are missing.
        ValueError: If the json is not in COCO's instance format.
    """

    # What is no object may be anything.
    METAINFO: dict = {'dataset_type': 'CocoObjects', 'complete': False}  # noqa: RUF012

    def __init__(
        self,
        data_root: str | Path,
        split: str = 'train2017',
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        token_cache: CacheSettings | None = None,
        image_cache: CacheSettings | None = None,
        indices: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(data_root, split, pipeline, test_mode, token_cache, image_cache, indices)

    def load_data_list(self) -> list[dict]:
        """One entry an image: path, id, size, and in test mode its ``instances``."""
        path = Path(self.data_root, 'annotations', f'instances_{self.split}.json')
        content = read_coco_json(path, self.split, ('images', 'annotations'))
        try:
            data_list = self._entries(content)
        except KeyError as error:
            raise ValueError(f"{path} is not in COCO's format: an entry lacks {error}") from error
        folder = Path(self.data_root, self.split)
        require_images(folder, [image['file_name'] for image in content['images']], path)
        return data_list

    def _entries(self, content: dict) -> list[dict]:
        """Turn the json into entries, and its categories into meta information."""
        categories = sorted(content.get('categories', []), key=lambda c: c['id'])
        self._metainfo['classes'] = tuple(c['name'] for c in categories)
        self._metainfo['category_ids'] = tuple(c['id'] for c in categories)
        data_list = image_entries(content, Path(self.data_root, self.split))
        if self.test_mode:
            instances = _instances(content['annotations'])
            for info in data_list:
                info['instances'] = instances[info['img_id']]
        return data_list


def read_coco_json(path: Path, split: str, keys: Sequence[str]) -> dict:
    """The content of an annotation file, which must have these keys."""
    if not path.is_file():
        raise FileNotFoundError(f'split {split!r}: no annotation file at {path.absolute()}')
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f'{path} is no valid JSON: {error}') from error
    if not isinstance(content, dict) or not set(keys) <= content.keys():
        wanted = ', '.join(map(repr, keys[:-1])) + f' and {keys[-1]!r}'
        raise ValueError(f"{path} is not in COCO's format: expected {wanted}")
    return content


def image_entries(content: dict, folder: Path) -> list[dict]:
    """What both kinds of annotation say of an image."""
    return [
        {
            'img_path': str(folder / image['file_name']),
            'img_id': image['id'],
            'height': image['height'],
            'width': image['width'],
        }
        for image in content['images']
    ]


def _instances(annotations: list[dict]) -> defaultdict[int, list[dict]]:
    """What a mask needs, by image id."""
    grouped = defaultdict(list)
    for ann in annotations:
        grouped[ann['image_id']].append(
            {
                'segmentation': ann['segmentation'],
                'category_id': ann['category_id'],
                'iscrowd': ann.get('iscrowd', 0),
            }
        )
    return grouped
