import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer, Shaped

from mmocl.evaluation.json_values import json_text

_PREFIX = 'object_'


@dataclass(frozen=True, eq=False)
class SlotDump:
    """Slots of M images, and what is known of their objects.

    ``SlotDumpMetric`` writes it as an .npz, one array a field; ``properties`` become
    ``object_<name>``. Objects are padded to the largest number O; padding says nothing.

    Attributes:
        img_id: Names of the images (M,), str, every one once.
        slots: Slots (M, K, D), float32.
        active: False for slots (M, K) that the model pruned.
        attn: Attention of the slots over the tokens (M, K, N), or None.
        num_objects: Number of objects of every image (M,), or None if there are no properties and
            no overlaps.
        properties: True properties by name: (M, O) or (M, O, S) for S numbers an object. Integers
            are the labels of a category, floats are continuous.
        iou: Intersection over union of slot masks with objects (M, K, O), or None.
        info: Where the slots come from, as values of JSON; empty if nothing is known.

    Raises:
        ValueError: If a shape or a type does not fit, a value is not finite or out of range, an
            image is named twice, or ``info`` is no JSON.
    """

    img_id: Shaped[np.ndarray, '...']
    slots: Shaped[np.ndarray, '...']
    active: Shaped[np.ndarray, '...']
    attn: Shaped[np.ndarray, '...'] | None = None
    num_objects: Shaped[np.ndarray, '...'] | None = None
    properties: Mapping[str, Shaped[np.ndarray, '...']] = field(default_factory=dict)
    iou: Shaped[np.ndarray, '...'] | None = None
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        json_text('info', self.info)
        if self.slots.ndim != 3:
            raise ValueError(f'slots must be (images, slots, width), got shape {self.slots.shape}')
        images, slots, _ = self.slots.shape
        _require('img_id', self.img_id, (images,), 'US')
        _require_once(self.img_id)
        _require('slots', self.slots, self.slots.shape, 'f')
        _require('active', self.active, (images, slots), 'b')
        if self.attn is not None:
            _require('attn', self.attn, (images, slots, None), 'f')
        if self.num_objects is None:
            if self.properties or self.iou is not None:
                raise ValueError('properties and iou of objects need num_objects')
            return
        _require('num_objects', self.num_objects, (images,), 'iu')
        if images and self.num_objects.min() < 0:
            raise ValueError(f'num_objects must not be negative, got {self.num_objects.min()}')
        most = int(self.num_objects.max(initial=0))
        if self.iou is not None:
            _require('iou', self.iou, (images, slots, None), 'f')
            _require_room('iou', self.iou.shape[2], most)
        for name, values in self.properties.items():
            shape = (images, None) if values.ndim < 3 else (images, None, None)
            _require(f'property {name!r}', values, shape, 'iuf')
            _require_room(f'property {name!r}', values.shape[1], most)

    @property
    def object_counts(self) -> Integer[np.ndarray, ' M']:
        """``num_objects``.

        Raises:
            ValueError: If the dump knows of no objects.
        """
        if self.num_objects is None:
            raise ValueError(
                'this slot dump knows of no objects; write it with properties (of SlotDumpMetric) '
                'or --properties (of tools/dump_slots.py)'
            )
        return self.num_objects

    @property
    def object_mask(self) -> Bool[np.ndarray, 'M O']:
        """True for objects, False for padding; O is the most objects of an image."""
        counts = self.object_counts
        return np.arange(counts.max(initial=0)) < np.expand_dims(counts, 1)

    @classmethod
    def load(cls, path: str | Path, attention: bool = True) -> 'SlotDump':
        """Read a file, also one of ``tools/infer.py``, which calls ``img_id`` ``names``.

        Args:
            path: The .npz file, or a folder with ``slots.npz``.
            attention: Whether to read ``attn``, by far the largest array.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is no slot dump.
        """
        file_path = Path(path)
        if file_path.is_dir():
            file_path = file_path / 'slots.npz'
        if not file_path.is_file():
            raise FileNotFoundError(f'no slot dump at {file_path}')
        try:
            with np.load(file_path) as file:
                arrays = {n: file[n] for n in file.files if attention or n != 'attn'}
            if 'names' in arrays:
                arrays.setdefault('img_id', arrays['names'])
            missing = {'img_id', 'slots', 'active'} - arrays.keys()
            if missing:
                raise ValueError(f'it lacks {sorted(missing)} and holds {sorted(arrays)}')
            properties = {
                name.removeprefix(_PREFIX): values
                for name, values in arrays.items()
                if name.startswith(_PREFIX)
            }
            return cls(
                arrays['img_id'],
                arrays['slots'],
                arrays['active'],
                arrays.get('attn'),
                arrays.get('num_objects'),
                properties,
                arrays.get('iou'),
                json.loads(str(arrays['info'])) if 'info' in arrays else {},
            )
        except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f'{file_path} is no slot dump, as SlotDumpMetric, tools/dump_slots.py or '
                f'tools/infer.py write it: {error}'
            ) from error

    def choose(self, num_images: int, seed: int) -> 'SlotDump':
        """A random choice of images.

        It depends on the names of the images alone, not on their order, so dumps of the same images
        choose the same ones, in the same order.

        Args:
            num_images: Number of images; all of them, in a random order, if there are no more.
            seed: Seed of the choice.

        Raises:
            ValueError: If ``num_images`` is less than 1.
        """
        if num_images < 1:
            raise ValueError(f'num_images must be at least 1, got {num_images}')
        by_name = np.argsort(self.img_id)
        return self._at(np.random.default_rng(seed).permutation(by_name)[:num_images])

    def in_order_of(self, other: 'SlotDump') -> 'SlotDump':
        """The same with the images in the order of another dump.

        Args:
            other: Dump of the same images, with as many slots of the same width.

        Raises:
            ValueError: If the images or the shapes of slots differ.
        """
        place = {name: i for i, name in enumerate(self.img_id.tolist())}
        names = other.img_id.tolist()
        if odd := sorted(place.keys() ^ set(names), key=str):
            raise ValueError(
                f'both slot dumps must hold the same images, but {len(odd)} are in one only, such '
                f'as {odd[0]!r}'
            )
        if self.slots.shape != other.slots.shape:
            raise ValueError(
                'slots of both dumps must be the same in number and width, got (images, slots, '
                f'width) {self.slots.shape} and {other.slots.shape}'
            )
        return self._at(np.array([place[name] for name in names], np.int64))

    def _at(self, images: Integer[np.ndarray, ' I']) -> 'SlotDump':
        """These images, in this order."""
        return replace(
            self,
            img_id=self.img_id[images],
            slots=self.slots[images],
            active=self.active[images],
            attn=None if self.attn is None else self.attn[images],
            num_objects=None if self.num_objects is None else self.num_objects[images],
            properties={name: values[images] for name, values in self.properties.items()},
            iou=None if self.iou is None else self.iou[images],
        )

    def save(self, path: str | Path) -> None:
        """Write a file, and its folder if there is none."""
        arrays = {
            'img_id': self.img_id,
            'slots': self.slots,
            'active': self.active,
            'attn': self.attn,
            'num_objects': self.num_objects,
            'iou': self.iou,
            'info': np.array(json_text('info', self.info)) if self.info else None,
            **{f'{_PREFIX}{name}': values for name, values in self.properties.items()},
        }
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # numpy would add a suffix to a path.
        with open(path, 'wb') as file:
            np.savez(file, **{name: x for name, x in arrays.items() if x is not None})  # type: ignore[arg-type]


def _require(name: str, values: np.ndarray, shape: tuple[int | None, ...], kinds: str) -> None:
    """Check shape (None: any size), type (numpy's letters of kinds) and that all is finite."""
    fits = values.ndim == len(shape) and all(
        wanted is None or wanted == size for wanted, size in zip(shape, values.shape, strict=True)
    )
    if not fits:
        wanted = tuple('any' if size is None else size for size in shape)
        raise ValueError(f'{name} must have the shape {wanted}, got {values.shape}')
    if values.dtype.kind not in kinds:
        types = {'U': 'str', 'S': 'bytes', 'b': 'bool', 'i': 'int', 'u': 'unsigned', 'f': 'float'}
        names = ' or '.join(types[kind] for kind in kinds)
        raise ValueError(f'{name} must be of type {names}, got {values.dtype}')
    if values.dtype.kind == 'f' and not np.isfinite(values).all():
        raise ValueError(f'{name} must be finite, but holds NaN or infinite values')


def _require_once(names: Shaped[np.ndarray, ' M']) -> None:
    found, counts = np.unique(names, return_counts=True)
    if repeated := found[counts > 1].tolist():
        raise ValueError(
            f'img_id must name every image once, but {len(repeated)} are named more often, such as '
            f'{repeated[0]!r}'
        )


def _require_room(name: str, size: int, most: int) -> None:
    if size < most:
        raise ValueError(f'{name} has room for {size} objects, but num_objects says {most}')
