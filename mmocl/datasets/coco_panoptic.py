from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mmocl.datasets.coco_objects import image_entries, read_coco_json
from mmocl.datasets.feature_cache import CacheSettings
from mmocl.datasets.object_dataset import ObjectDataset, require_images
from mmocl.registry import DATASETS


@DATASETS.register_module()
class CocoPanoptic(ObjectDataset):
    """COCO's images with panoptic ground truth: every pixel a thing, stuff, or unlabelled.

    Reads ``{split}/``, ``annotations/panoptic_{split}.json``, and in test mode the PNGs in
    ``annotations/panoptic_{split}/`` (or, as some keep them, in ``panoptic_{split}/``). All
    segments become ground truth, and those of stuff are flagged: metrics of objects take them as
    background. In training the annotations are dropped as soon as the json is read.

    Panoptic segmentation: Kirillov et al., 2019, `arXiv:1801.00868
    <https://arxiv.org/abs/1801.00868>`_.

    Args:
        data_root: Folder that holds these.
        split: ``'train2017'``, ``'val2017'``, or any other name with them.
        pipeline: Transforms, as configs or callables.
        test_mode: Whether to list ground truth.
        token_cache: See ``ObjectDataset``.
        image_cache: See ``ObjectDataset``.
        indices: Keep these images only; an int n means the first n.

    Raises:
        FileNotFoundError: If a folder, the json, images or maps of it are missing.
        ValueError: If the json is not in COCO's panoptic format, or an image lacks annotation.
    """

    METAINFO: dict = {'dataset_type': 'CocoPanoptic'}  # noqa: RUF012

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
        """One entry an image: path, id, size, and in test mode its map and ``segments``."""
        path = Path(self.data_root, 'annotations', f'panoptic_{self.split}.json')
        content = read_coco_json(path, self.split, ('images', 'annotations', 'categories'))
        try:
            data_list = self._entries(content, path)
        except KeyError as error:
            raise ValueError(f"{path} is not in COCO's format: an entry lacks {error}") from error
        folder = Path(self.data_root, self.split)
        require_images(folder, [image['file_name'] for image in content['images']], path)
        return data_list

    def _entries(self, content: dict, path: Path) -> list[dict]:
        """Turn the json into entries, and its categories into meta information."""
        categories = sorted(content['categories'], key=lambda c: c['id'])
        self._metainfo['classes'] = tuple(c['name'] for c in categories)
        self._metainfo['category_ids'] = tuple(c['id'] for c in categories)
        is_stuff = {c['id']: not c['isthing'] for c in categories}
        self._metainfo['stuff_ids'] = tuple(i for i, stuff in is_stuff.items() if stuff)
        data_list = image_entries(content, Path(self.data_root, self.split))
        if self.test_mode:
            self._add_segments(data_list, content['annotations'], is_stuff, path)
        return data_list

    def _add_segments(
        self, data_list: list[dict], annotations: list[dict], is_stuff: dict[int, bool], path: Path
    ) -> None:
        """Give every entry the path of its map and what its segments are."""
        maps = path.with_suffix('')
        if not maps.is_dir():
            beside = Path(self.data_root, maps.name)
            maps = beside if beside.is_dir() else maps
        require_images(maps, [ann['file_name'] for ann in annotations], path)
        unknown = {s['category_id'] for ann in annotations for s in ann['segments_info']} - {
            *is_stuff
        }
        if unknown:
            raise ValueError(f'{path} has segments of categories {sorted(unknown)}, but lists none')
        by_image = {ann['image_id']: ann for ann in annotations}
        missing = [info['img_id'] for info in data_list if info['img_id'] not in by_image]
        if missing:
            raise ValueError(
                f'{path} annotates all but {len(missing)} of its images (first: id {missing[0]}); '
                'expected one annotation each'
            )
        for info in data_list:
            ann = by_image[info['img_id']]
            info['panoptic_map_path'] = str(maps / ann['file_name'])
            info['segments'] = [
                {
                    'id': segment['id'],
                    'category_id': segment['category_id'],
                    'iscrowd': segment.get('iscrowd', 0),
                    'stuff': is_stuff[segment['category_id']],
                }
                for segment in ann['segments_info']
            ]
