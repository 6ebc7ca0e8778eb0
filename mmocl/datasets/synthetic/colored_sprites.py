from __future__ import annotations

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch.utils.data import Dataset

from mmocl.datasets.synthetic.scene import BACKGROUNDS, Scene, render_scene
from mmocl.datasets.synthetic.sprites import SHAPES
from mmocl.registry import DATASETS
from mmocl.structures import SlotDataSample


@DATASETS.register_module()
class ColoredSprites(Dataset):
    """Coloured, overlapping dSprites, generated on the fly.

    Follows Multi-dSprites (Kabra et al., 2019, https://github.com/deepmind/multi_object_datasets),
    with two deviations: positions, sizes and angles are continuous, and sprites never leave the
    image. An item depends on ``seed`` and its index alone; give train and test different seeds.

    Args:
        num_images: Length of the dataset.
        image_size: Side of the image in pixels.
        max_objects: Most objects in an image.
        min_objects: Fewest objects in an image; the number is uniform in between.
        background: ``'plain'`` is one fixed dark grey, ``'colored'`` one random colour an image.
        min_distance: Least distance between the centres of two objects, as a fraction of the image;
            about 0.3 keeps most of them from overlapping. 0 lets them occlude one another freely.
        seed: Seed of the whole dataset.
        test_mode: Whether to pack all of ``gt_objects``: ``masks`` of the visible pixels,
            ``labels`` (the shape), ``crowd``, and the true ``shape`` (1 square, 2 ellipse, 3
            heart), ``scale``, ``orientation`` (radians), ``position`` (x, y as fractions of the
            image) and ``color`` (RGB in 0..1). Objects are ordered from back to front.
        properties: Whether to pack ``gt_objects`` with the true properties alone, for supervised
            training; ``test_mode`` packs them anyway.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        num_images: int,
        image_size: int = 64,
        max_objects: int = 4,
        min_objects: int = 1,
        background: str = 'plain',
        min_distance: float = 0.0,
        seed: int = 0,
        test_mode: bool = False,
        properties: bool = False,
    ) -> None:
        if num_images < 1:
            raise ValueError(f'num_images must be at least 1, got {num_images}')
        if image_size < 32:
            raise ValueError(
                f'image_size must be at least 32 (sprites have too few pixels below), '
                f'got {image_size}'
            )
        if not 0 <= min_objects <= max_objects:
            raise ValueError(
                f'expected 0 <= min_objects <= max_objects, got {min_objects} and {max_objects}'
            )
        if background not in BACKGROUNDS:
            raise ValueError(f'background must be one of {BACKGROUNDS}, got {background!r}')
        if seed < 0:
            raise ValueError(f'seed must not be negative, got {seed}')
        self.num_images = num_images
        self.image_size = image_size
        self.max_objects = max_objects
        self.min_objects = min_objects
        self.background = background
        self.min_distance = min_distance
        self.seed = seed
        self.test_mode = test_mode
        self.properties = properties

    @property
    def metainfo(self) -> dict:
        """Dataset name and classes; label ``i`` is ``classes[i - 1]``."""
        return {'dataset_type': 'ColoredSprites', 'classes': tuple(SHAPES.values())}

    def __len__(self) -> int:
        return self.num_images

    def scene(self, index: int) -> Scene:
        """The scene of an index, with its background mask and true properties."""
        if not -self.num_images <= index < self.num_images:
            raise IndexError(f'index {index} of a dataset of {self.num_images} images')
        rng = np.random.default_rng((self.seed, index % self.num_images))
        num_objects = int(rng.integers(self.min_objects, self.max_objects, endpoint=True))
        return render_scene(
            rng,
            self.image_size,
            num_objects,
            self.background,
            min_distance=self.min_distance,
        )

    def __getitem__(self, index: int) -> dict:
        """One image.

        Args:
            index: Position in the dataset.

        Returns:
            ``inputs``, a uint8 RGB tensor (3, H, W), and ``data_samples``, a ``SlotDataSample``.
        """
        scene = self.scene(index)
        size = (self.image_size, self.image_size)
        sample = SlotDataSample(
            metainfo={
                'img_id': index % self.num_images,
                'img_path': None,
                'ori_shape': size,
                'img_shape': size,
            }
        )
        if self.test_mode or self.properties:
            sample.gt_objects = InstanceData(
                shape=torch.from_numpy(scene.shape),
                scale=torch.from_numpy(scene.scale).float(),
                orientation=torch.from_numpy(scene.orientation).float(),
                position=torch.from_numpy(scene.position).float(),
                color=torch.from_numpy(scene.color).float(),
            )
        if self.test_mode:
            objects = sample.gt_objects
            objects.masks = torch.from_numpy(scene.masks[1:])
            objects.labels = objects.shape.clone()
            objects.crowd = torch.zeros(len(objects.shape), dtype=torch.bool)
        inputs = torch.from_numpy(scene.image).permute(2, 0, 1).contiguous()
        return {'inputs': inputs, 'data_samples': sample}
