"""Pictures from wherever a user has them: files, folders, patterns, arrays and videos."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from mmocl.datasets.transforms import (
    MAX_PIXELS,
    PHOTO_SUFFIXES,
    CorruptImageError,
    is_photo,
    read_photo,
)
from mmocl.datasets.transforms.load_photo import require_pixels

VIDEO_SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm')
# Headers of videos may tell some frames more than there are, long ones up to a fiftieth.
_FRAMES_OFF = 2


@dataclass(frozen=True)
class Source:
    """A file, a video or an array; ``name`` is the path of a file below what was given."""

    name: str
    path: Path | None = None
    array: UInt8[np.ndarray, 'H W 3'] | None = None

    @property
    def is_video(self) -> bool:
        """Whether it is a file with the suffix of a video."""
        return self.path is not None and self.path.suffix.lower() in VIDEO_SUFFIXES

    @property
    def num_pictures(self) -> int:
        """Number of pictures; of a video the number of frames that its header tells."""
        if not self.is_video:
            return 1
        video = cv2.VideoCapture(str(self.path))
        try:
            return max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        finally:
            video.release()


@dataclass(frozen=True)
class Picture:
    """A picture, upright and RGB, or the error why there is none.

    A frame has the ``path`` of its video.
    """

    name: str
    path: Path | None
    image: UInt8[np.ndarray, 'H W 3'] | None = None
    error: Exception | None = None


def is_single(inputs: object) -> bool:
    """Whether inputs are one file or array, and not a list, a folder or a pattern."""
    if isinstance(inputs, list | tuple):
        return False
    is_path = isinstance(inputs, str | Path)
    return isinstance(inputs, np.ndarray) or (is_path and Path(str(inputs)).is_file())


def find_sources(inputs: object) -> list[Source]:
    """List what a user gives as pictures, without reading any.

    Args:
        inputs: Path of an image or video; folder, whose images and those of its subfolders are
            taken; pattern as ``'photos/**/*.jpg'``; array (H, W, 3) of RGB or (H, W) of grey bytes;
            or a list or tuple of all these.

    Returns:
        Sources in the order given, those of a folder or pattern sorted by path. Names are relative
        to the folder, or to the folder that all files of a list have in common; arrays are
        ``array_<position>``.

    Raises:
        FileNotFoundError: If a path does not exist, or a pattern matches no file.
        ValueError: If a folder or pattern has no image, an array is no such picture, or the input
            is something else, or empty.
    """
    if isinstance(inputs, list | tuple):
        if not inputs:
            raise ValueError('inputs is an empty list; expected at least one picture')
        items = [_find(item, i) for i, item in enumerate(inputs)]
        paths = [source.path.absolute() for item in items for source in item if source.path]
        root = os.path.commonpath([path.parent for path in paths]) if paths else ''
        return [
            source
            if source.path is None
            else Source(source.path.absolute().relative_to(root).as_posix(), source.path)
            for item in items
            for source in item
        ]
    return _find(inputs, 0)


def read_pictures(
    sources: Sequence[Source], max_pixels: int | None = MAX_PIXELS
) -> Iterator[Picture]:
    """Read sources one picture after the other; those that cannot be read carry their error.

    Args:
        sources: Result of :func:`find_sources`.
        max_pixels: Most pixels of a file or frame, see :func:`read_photo`.
    """
    for source in sources:
        try:
            if source.is_video:
                yield from _read_frames(source, max_pixels)
            elif source.path is None:
                yield Picture(source.name, None, source.array)
            else:
                yield Picture(source.name, source.path, read_photo(source.path, max_pixels))
        except (CorruptImageError, FileNotFoundError) as error:
            yield Picture(source.name, source.path, error=error)


def frame_rate(path: Path) -> float:
    """Frames a second of a video; 25 if it does not say."""
    video = cv2.VideoCapture(str(path))
    try:
        rate = video.get(cv2.CAP_PROP_FPS)
    finally:
        video.release()
    return rate if 0 < rate < 1000 else 25.0


def _find(item: object, position: int) -> list[Source]:
    """Sources of one item."""
    if isinstance(item, np.ndarray):
        return [Source(f'array_{position}', array=_as_picture(item, position))]
    if not isinstance(item, str | Path) or item == '':
        given = repr(item) if isinstance(item, str) else type(item).__name__
        raise ValueError(
            f'inputs must be a path, a folder, a pattern, an array (H, W, 3) of uint8, or a list '
            f'of these, got {given}'
        )
    path = Path(item)
    if path.is_file():
        return [Source(path.name, path)]
    if path.is_dir():
        files = [file for file in sorted(path.rglob('*')) if is_photo(file)]
        if not files:
            raise ValueError(
                f'no image in the folder {path} nor below it; expected files with one of '
                f'{", ".join(PHOTO_SUFFIXES)}'
            )
        return [Source(file.relative_to(path).as_posix(), file) for file in files]
    if not any(mark in str(item) for mark in '*?['):
        raise FileNotFoundError(f'No image at {str(item)!r}.')
    matched = [Path(file) for file in sorted(glob.glob(str(item), recursive=True))]
    files = [file for file in matched if is_photo(file) or _is_video(file)]
    if not files:
        found = f'{len(matched)} other files or folders' if matched else 'nothing'
        raise FileNotFoundError(
            f'No image at {str(item)!r}: the pattern matches {found}; expected files with one of '
            f'{", ".join(PHOTO_SUFFIXES + VIDEO_SUFFIXES)}.'
        )
    root = os.path.commonpath([file.parent.absolute() for file in files])
    return [Source(file.absolute().relative_to(root).as_posix(), file) for file in files]


def _is_video(path: Path) -> bool:
    hidden = path.name.startswith('.')
    return path.suffix.lower() in VIDEO_SUFFIXES and not hidden and path.is_file()


def _as_picture(array: np.ndarray, position: int) -> UInt8[np.ndarray, 'H W 3']:
    if array.ndim == 2 and array.dtype == np.uint8 and array.size:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or not array.size:
        raise ValueError(
            f'array {position} of the inputs is {array.dtype} of shape {array.shape}; expected '
            'uint8 of shape (H, W, 3), RGB, or (H, W), grey'
        )
    return np.ascontiguousarray(array)


def _read_frames(source: Source, max_pixels: int | None) -> Iterator[Picture]:
    """Decode a video frame by frame; OpenCV turns them upright.

    Raises:
        CorruptImageError: At the end, if there were fewer frames than the header tells.
    """
    video = cv2.VideoCapture(str(source.path))
    position = 0
    try:
        while True:
            there, frame = video.read()
            if not there:
                break
            assert source.path is not None
            require_pixels(source.path, (frame.shape[0], frame.shape[1]), max_pixels)
            image = np.ascontiguousarray(frame[:, :, ::-1])
            yield Picture(f'{source.name}/{position:06d}', source.path, image)
            position += 1
    finally:
        video.release()
    if not position:
        raise CorruptImageError(f'cannot decode video {source.path}: no frame can be read')
    if source.num_pictures - position > max(_FRAMES_OFF, source.num_pictures // 50):
        raise CorruptImageError(
            f'cannot decode all of video {source.path}: {position} of {source.num_pictures} frames '
            'can be read'
        )
