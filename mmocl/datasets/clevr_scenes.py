from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mmocl.datasets.feature_cache import CacheSettings
from mmocl.datasets.object_dataset import ObjectDataset, require_folder, require_images
from mmocl.registry import DATASETS

# Index = class; the order of TensorFlow Datasets.
PROPERTIES = {
    'size': ('small', 'large'),
    'material': ('rubber', 'metal'),
    'shape': ('cube', 'sphere', 'cylinder'),
    'color': ('gray', 'blue', 'brown', 'yellow', 'red', 'green', 'purple', 'cyan'),
}
# Coordinates of CLEVR lie in [-3, 3].
EXTENT = 3


@DATASETS.register_module()
class ClevrScenes(ObjectDataset):
    """CLEVR v1.0, `arXiv:1612.06890 <https://arxiv.org/abs/1612.06890>`_, for set prediction.

    Every sample has, in training too, ``gt_objects`` with ``position`` (M, 3) float32 (the
    coordinates in the scene, divided by 3) and ``size``, ``material``, ``shape``, ``color`` (M,)
    int64, indices into the names of the dataset's meta information. There are no masks. A split
    without a scene file (CLEVR's test split) lists its images without objects, unless ``test_mode``
    is set.

    Args:
        data_root: Folder with ``images/{split}/CLEVR_*.png`` and
            ``scenes/CLEVR_{split}_scenes.json``.
        split: ``'train'``, ``'val'`` or ``'test'``.
        max_objects: Leave out scenes with more objects; 6 gives CLEVR6.
        pipeline: Transforms, as configs or callables.
        test_mode: Whether a missing scene file, or a corrupt image, is an error.
        token_cache: See ``ObjectDataset``.
        image_cache: See ``ObjectDataset``.
        indices: Keep these images only; an int n means the first n.

    Raises:
        FileNotFoundError: If a folder or images are missing, or the scene file although
            ``test_mode`` or ``max_objects`` needs it.
        ValueError: If there is no image, or the scene file is not in CLEVR's format.
    """

    METAINFO: dict = {'dataset_type': 'ClevrScenes', **PROPERTIES}  # noqa: RUF012

    def __init__(
        self,
        data_root: str | Path,
        split: str = 'train',
        max_objects: int | None = None,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        token_cache: CacheSettings | None = None,
        image_cache: CacheSettings | None = None,
        indices: int | Sequence[int] | None = None,
    ) -> None:
        self.max_objects = max_objects
        self._scene_file = Path(data_root, 'scenes', f'CLEVR_{split}_scenes.json')
        super().__init__(data_root, split, pipeline, test_mode, token_cache, image_cache, indices)

    @property
    def where(self) -> str:
        """What the images are called in messages."""
        limit = '' if self.max_objects is None else f', at most {self.max_objects} objects'
        scenes = '' if self._scene_file.is_file() else ', without scenes'
        return f'{self.data_root} ({self.split}{limit}{scenes})'

    def load_data_list(self) -> list[dict]:
        """One entry an image: path, id, and the properties of its objects where they are known."""
        folder = require_folder(Path(self.data_root, 'images', self.split), 'images')
        path = self._scene_file
        if not path.is_file():
            if self.test_mode or self.max_objects is not None:
                raise FileNotFoundError(
                    f'split {self.split!r}: no scene file at {path.absolute()}, which '
                    'test_mode=True and max_objects need'
                )
            files = sorted(folder.glob('CLEVR_*.png'))
            return [{'img_path': str(file), 'img_id': file.stem} for file in files]
        try:
            scenes = json.loads(path.read_bytes())['scenes']
            if self.max_objects is not None:
                scenes = [s for s in scenes if len(s['objects']) <= self.max_objects]
            names = [scene['image_filename'] for scene in scenes]
            objects = [_properties(scene['objects']) for scene in scenes]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is not in CLEVR's format: {type(error).__name__} {error}; expected "
                "'scenes' with 'image_filename' and 'objects' with '3d_coords', size, material, "
                'shape and color'
            ) from error
        require_images(folder, names, path)
        return [
            {'img_path': str(folder / name), 'img_id': Path(name).stem, 'gt_objects': properties}
            for name, properties in zip(names, objects, strict=True)
        ]


def _properties(objects: list[dict]) -> dict[str, np.ndarray]:
    """Positions and class indices of the objects of a scene."""
    position = np.array([obj['3d_coords'] for obj in objects], np.float32).reshape(-1, 3) / EXTENT
    indices = {
        name: np.array([names.index(obj[name]) for obj in objects], np.int64)
        for name, names in PROPERTIES.items()
    }
    return {'position': position, **indices}
