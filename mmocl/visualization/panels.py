"""Pictures of a sample by name, below each other."""

from collections.abc import Sequence
from typing import Any

from mmocl.structures import SlotDataSample
from mmocl.visualization.drawing import Picture
from mmocl.visualization.layout import stacked, titled_grid
from mmocl.visualization.overview import overview_tiles
from mmocl.visualization.sample_maps import mask_source, tile_size
from mmocl.visualization.score_panel import score_panel
from mmocl.visualization.slot_grid import slot_grid
from mmocl.visualization.step_strip import step_strip

#: Panels, and whether they show more of a sample whose ``pred_steps`` were kept.
PANELS = {'overview': False, 'scores': False, 'steps': True, 'grid': True}


def check_panels(panels: str | Sequence[str]) -> tuple[str, ...]:
    """Names of panels as a tuple.

    Raises:
        ValueError: If there is none, or one is unknown.
    """
    # A single name would be read letter by letter.
    names = (panels,) if isinstance(panels, str) else tuple(panels)
    if not names or not set(names) <= set(PANELS):
        raise ValueError(f'panels must be among {list(PANELS)}, got {list(names)}')
    return names


def draw_panels(
    image: Picture,
    sample: SlotDataSample,
    panels: str | Sequence[str] = ('overview',),
    protocol: str | dict[str, Any] = 'square128',
    side: int = 224,
) -> Picture:
    """Draw a sample.

    Args:
        image: The RGB image that the model saw.
        sample: Predictions, and ground truth if there is any.
        panels: ``'overview'`` (see :func:`overview_tiles`), ``'scores'`` (:func:`score_panel`),
            ``'steps'`` (:func:`step_strip`) and ``'grid'`` (:func:`slot_grid`), in the order in
            which they are drawn. A sample without masks or attention has the overview only.
        protocol: How ``'scores'`` scores.
        side: Longer side of a tile in pixels; half of it in the grid.

    Raises:
        ValueError: If there are no panels, or one is unknown.
    """
    pictures = []
    names = check_panels(panels)
    if mask_source(sample) is None or 'pred_attn' not in sample:
        names = ('overview',)
    for name in names:
        if name == 'overview':
            size = tile_size(image, side)
            tiles = overview_tiles(image, sample, size)
            pictures.append(titled_grid([list(tiles.values())], list(tiles), tile=size))
        elif name == 'scores':
            pictures.append(score_panel(image, sample, protocol, side))
        elif name == 'steps':
            pictures.append(step_strip(image, sample, side))
        else:
            pictures.append(slot_grid(image, sample, max(96, side // 2)))
    return stacked(pictures)
