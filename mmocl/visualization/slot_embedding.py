"""Slots of many images as points in the plane."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

from mmocl.visualization.drawing import Picture
from mmocl.visualization.palette import palette

# Side of a thumbnail as a fraction of the picture, and the least distance between two of them as a
# fraction of the extent of the points: they do not overlap.
_THUMBNAIL = 0.045
_DISTANCE = 0.1
# More colours than these are not told in a legend.
_LEGEND = 24


class PrincipalAxes(NamedTuple):
    """Points in the plane of their two greatest variances, and the shares of these."""

    points: Float64[np.ndarray, 'P 2']
    explained: Float64[np.ndarray, ' 2']


def principal_axes(vectors: Float[np.ndarray, 'P D']) -> PrincipalAxes:
    """Project vectors to the first two principal components, by a singular value decomposition.

    The sign of an axis is such that the largest entry of its direction is positive. Where there is
    one dimension, or no variance, the other coordinates are 0.

    Raises:
        ValueError: If there are no vectors or their values are not finite.
    """
    if not vectors.size or not np.isfinite(vectors).all():
        raise ValueError(f'expected finite vectors (P, D), got shape {vectors.shape}')
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    # The directions are those of the much smaller triangular factor.
    _, values, directions = np.linalg.svd(np.linalg.qr(centred, mode='r'), full_matrices=False)
    chosen = directions[:2]
    signs = np.sign(chosen[np.arange(len(chosen)), np.abs(chosen).argmax(axis=1)])
    points = np.zeros((len(vectors), 2))
    points[:, : len(chosen)] = centred @ (chosen * signs[:, None]).T
    explained = np.zeros(2)
    total = (values**2).sum()
    if total > 0:
        explained[: len(chosen)] = values[:2] ** 2 / total
    return PrincipalAxes(points, explained)


def slot_embedding(
    slots: Float[np.ndarray, 'M K D'],
    active: Bool[np.ndarray, 'M K'] | None = None,
    crops: Sequence[Sequence[Picture | None]] | None = None,
    size: int = 800,
) -> Picture:
    """Draw the slots of many images in the plane of their two greatest variances.

    A point is a slot of an image, its colour the index of the slot; the axes say how much of the
    variance they show.

    Args:
        slots: Slots of M images.
        active: Slots to draw; all if not given.
        crops: Picture of every slot of every image, drawn in place of some of the points; None for
            a slot that has none.
        size: Side of the picture in pixels.

    Raises:
        ValueError: If no slot is active.
    """
    num_images, num_slots, _ = slots.shape
    chosen = np.ones((num_images, num_slots), bool) if active is None else active
    if not chosen.any():
        raise ValueError(f'none of {num_images} x {num_slots} slots is active: nothing to draw')
    points, explained = principal_axes(slots[chosen])
    indices = np.nonzero(chosen)[1]
    pictures: list[Picture | None] = [None] * len(points)
    if crops is not None:
        pictures = [crops[i][k] for i, k in np.argwhere(chosen).tolist()]
    title = f'{len(points)} slots of {num_images} images'
    return _scatter(points, explained, indices, pictures, title, size)


def _scatter(
    points: Float64[np.ndarray, 'P 2'],
    explained: Float64[np.ndarray, ' 2'],
    indices: np.ndarray,
    pictures: list[Picture | None],
    title: str,
    size: int,
) -> Picture:
    # Matplotlib takes a while to import, and no other picture needs it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    # A figure that pyplot does not know of is closed with its last reference.
    figure = Figure(figsize=(size / 100, size / 100), dpi=100, layout='constrained')
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colors = palette(int(indices.max()) + 1)
    used = np.unique(indices)
    for k in used:
        own = points[indices == k]
        axes.scatter(
            own[:, 0], own[:, 1], s=14, color=colors[k] / 255, linewidths=0, label=f'{k}', zorder=1
        )
    drawn = [i for i, picture in enumerate(pictures) if picture is not None]
    for i in _spread(points, drawn):
        picture = pictures[i]
        assert picture is not None
        box = OffsetImage(picture, zoom=_THUMBNAIL * size / max(picture.shape))
        frame = {'edgecolor': colors[indices[i]] / 255, 'linewidth': 1.5}
        axes.add_artist(AnnotationBbox(box, tuple(points[i]), pad=0.1, bboxprops=frame, zorder=2))
    axes.set_xlabel(f'first component ({100 * explained[0]:.0f} % of the variance)')
    axes.set_ylabel(f'second component ({100 * explained[1]:.0f} % of the variance)')
    axes.set_title(title)
    axes.spines[['top', 'right']].set_visible(False)
    axes.margins(0.08)
    if len(used) <= _LEGEND:
        figure.legend(
            title='slot', loc='outside right upper', frameon=False, markerscale=2, handletextpad=0.1
        )
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _spread(points: Float64[np.ndarray, 'P 2'], candidates: Sequence[int]) -> list[int]:
    """Candidates that lie apart: each that is far enough from all chosen before it."""
    extent = np.maximum(points.max(axis=0) - points.min(axis=0), 1e-12)
    chosen: list[int] = []
    for i in candidates:
        apart = np.abs(points[chosen] - points[i]) / extent >= _DISTANCE
        if apart.any(axis=1).all():
            chosen.append(i)
    return chosen
