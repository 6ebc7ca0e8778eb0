"""Pictures of label maps, and of pictures beside each other, as pure functions on arrays."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int, Integer, UInt8
from PIL import Image
from scipy import ndimage

from mmocl.visualization.lettering import lettered, outlined_box
from mmocl.visualization.palette import BLACK, GREY, UNSEEN, WHITE, palette

Picture = UInt8[np.ndarray, '_ _ 3']
# A number is drawn into a segment in which a circle of this many letter heights fits.
_ROOM = 0.9
# A text that is larger than its segment is drawn on one of at least this radius, in letter heights.
_SEEN = 0.25


def colorize(ids: Integer[np.ndarray, 'H W'], background: bool = False) -> Picture:
    """Give every id its colour.

    Args:
        ids: Segment ids; negative pixels (ignored ones) become grey, and without ``background``
            those of ``UNSEEN`` too, which is no slot.
        background: Draw id 0 black, so that id 1 has the first colour.
    """
    unseen = _unseen(ids, background)
    shown = np.where(unseen, 0, ids).astype(np.int64)
    colors = palette(int(shown.max(initial=0)) + 1)
    if background:
        colors = np.concatenate([np.full((1, 3), BLACK, np.uint8), colors])
    picture = colors[shown]
    picture[unseen] = GREY
    return picture


def overlay(
    image: Picture,
    ids: Integer[np.ndarray, 'H W'],
    opacity: float = 0.6,
    numbers: bool = False,
) -> Picture:
    """Blend the colours of the segments over an image, with dark lines between segments.

    Args:
        image: RGB image of the size of ``ids``.
        ids: Slots, see :func:`colorize`. What no slot has seen stays as it is, but loses its
            colours.
        opacity: Share of the segments' colours.
        numbers: Write its number into every segment with room for it.

    Raises:
        ValueError: If image and ids differ in size.
    """
    if image.shape[:2] != ids.shape:
        raise ValueError(f'image is {image.shape[:2]}, but its ids are {ids.shape}')
    unseen = _unseen(ids)
    mixed = (1 - opacity) * image + opacity * colorize(ids)
    mixed[unseen] = image[unseen].mean(axis=1, keepdims=True)
    mixed[borders(ids)] *= 0.3
    picture = mixed.astype(np.uint8)
    if not numbers:
        return picture
    texts = {slot: str(slot) for slot in np.unique(ids[~unseen]).tolist()}
    return annotated(picture, ids, texts)


def annotated(
    picture: Picture, ids: Integer[np.ndarray, 'H W'], texts: dict[int, str], spill: bool = False
) -> Picture:
    """Write texts into segments where these are the widest.

    A text for which there is no room, or which would lie on that of a wider segment, is left out.

    Args:
        picture: Drawing of the segments; it is not changed.
        ids: Segments.
        texts: Texts by segment.
        spill: Texts may be larger than their segments, unless these would hardly be seen.
    """
    size = letter_size(picture)
    places = [(*most_interior(ids == segment), text) for segment, text in texts.items()]
    written = np.zeros(ids.shape, bool)
    for x, y, radius, text in sorted(places, key=lambda place: -place[2]):
        least = _SEEN * size if spill else _ROOM * size * max(1, len(text) / 2) / 2
        left, top, right, bottom = outlined_box(text, (x, y), size, (ids.shape[1], ids.shape[0]))
        box = written[top:bottom, left:right]
        if radius >= least and not box.any():
            picture = lettered(picture, text, (x, y), size, outline=True)
            box[:] = True
    return picture


def borders(ids: Int[np.ndarray, 'H W'] | Integer[np.ndarray, 'H W']) -> Bool[np.ndarray, 'H W']:
    """Pixels whose left or upper neighbour is of another segment."""
    border = np.zeros(ids.shape, bool)
    border[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    border[1:] |= ids[1:] != ids[:-1]
    return border


def most_interior(mask: Bool[np.ndarray, 'H W']) -> tuple[int, int, float]:
    """Where the largest circle in a mask lies: x and y of its centre, and its radius in pixels.

    Of several the one nearest to their middle. Outside the picture there is no mask. An empty mask
    has radius 0.
    """
    distance = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    widest = np.argwhere(distance == distance.max())
    y, x = widest[np.square(widest - widest.mean(axis=0)).sum(axis=1).argmin()].tolist()
    return x, y, float(distance[y, x])


def letter_size(picture: Picture) -> int:
    """Height in pixels of letters that can be read in a picture and leave it visible."""
    return max(11, min(picture.shape[:2]) // 14)


def fit(picture: Picture, height: int, width: int) -> Picture:
    """Resize a picture to the largest size that fits, keep its aspect and put it on white.

    A picture that grows to its double or more shows its pixels.
    """
    scale = min(height / picture.shape[0], width / picture.shape[1])
    size = [max(1, round(side * scale)) for side in picture.shape[:2]]
    page = np.full((height, width, 3), WHITE, np.uint8)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    page[top : top + size[0], left : left + size[1]] = resized(picture, size[0], size[1])
    return page


def resized(picture: Picture, height: int, width: int) -> Picture:
    """Resize a picture, whatever its aspect; one that grows to its double shows its pixels."""
    if picture.shape[:2] == (height, width):
        return picture
    grows = height >= 2 * picture.shape[0] and width >= 2 * picture.shape[1]
    method = Image.Resampling.NEAREST if grows else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(picture).resize((width, height), method))


def contact_sheet(rows: Sequence[Sequence[Picture]], tile: int = 128, gap: int = 4) -> Picture:
    """Arrange pictures of any size as rows of square tiles on white.

    Args:
        rows: Pictures, row by row; each keeps its aspect.
        tile: Side of a tile in pixels; small pictures are enlarged without smoothing.
        gap: White space between tiles in pixels.
    """
    num_columns = max(len(row) for row in rows)
    side = tile + gap
    sheet = np.full((len(rows) * side - gap, num_columns * side - gap, 3), WHITE, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            placed = fit(picture, tile, tile)
            sheet[i * side : i * side + tile, j * side : j * side + tile] = placed
    return sheet


def _unseen(ids: Integer[np.ndarray, 'H W'], background: bool = False) -> Bool[np.ndarray, 'H W']:
    # Objects may be more than slots can be, so that 255 is an object like any other.
    return ids < 0 if background else (ids < 0) | (ids == UNSEEN)
