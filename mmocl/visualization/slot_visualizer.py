from collections.abc import Sequence
from pathlib import Path
from typing import Any, no_type_check

import numpy as np
from mmengine.visualization import Visualizer
from PIL import Image

from mmocl.evaluation.protocols import get_protocol
from mmocl.registry import VISUALIZERS
from mmocl.structures import SlotDataSample
from mmocl.visualization.drawing import Picture
from mmocl.visualization.overview import overview_tiles
from mmocl.visualization.panels import PANELS, check_panels, draw_panels

# Side of the tiles of small images in pixels.
_LEAST_SIDE = 224


@VISUALIZERS.register_module()
class SlotVisualizer(Visualizer):
    """Draw the slots of one image, in one or several panels.

    Args:
        name: Name of the visualizer.
        image: Picture to draw on, for MMEngine's own methods.
        vis_backends: Where pictures go, such as ``dict(type='LocalVisBackend')``.
        save_dir: Folder of the backends.
        fig_save_cfg: Arguments of the figure that MMEngine's own methods draw on.
        fig_show_cfg: Arguments of the figure in a window.
        panels: ``'overview'``: input, reconstruction, masks, attention and true objects;
            ``'scores'``: true against predicted; ``'steps'``: attention after every update;
            ``'grid'``: a row a slot. One name, or several that are drawn below each other.
        protocol: How ``'scores'`` scores: name of a preset of ``mmocl.evaluation.protocols``, or a
            dict of it and of switches to change.

    Raises:
        ValueError: If a panel or the protocol is unknown.
    """

    panels: tuple[str, ...]
    protocol: str | dict[str, Any]

    # MMEngine looks for ``name`` in the signature, which a checker of types would wrap.
    @no_type_check
    def __init__(
        self,
        name: str = 'visualizer',
        image: np.ndarray | None = None,
        vis_backends: list | dict | None = None,
        save_dir: str | None = None,
        fig_save_cfg: dict | None = None,
        fig_show_cfg: dict | None = None,
        panels: str | Sequence[str] = ('overview',),
        protocol: str | dict[str, Any] = 'square128',
    ) -> None:
        self.panels = check_panels(panels)
        get_protocol(protocol)
        self.protocol = protocol
        super().__init__(
            name,
            image,
            vis_backends,
            save_dir,
            fig_save_cfg or {'frameon': False},
            fig_show_cfg or {'frameon': False},
        )

    @property
    def wants_steps(self) -> bool:
        """Whether a panel shows more of predictions that were made with ``keep_steps``."""
        return any(PANELS[name] for name in self.panels)

    def add_datasample(
        self,
        name: str,
        image: Picture,
        data_sample: SlotDataSample,
        show: bool = False,
        out_file: str | None = None,
        step: int = 0,
    ) -> None:
        """Draw a sample and hand the picture to a file, a window or the backends.

        Args:
            name: Name of the picture in the backends.
            image: The RGB image that the model saw.
            data_sample: Predictions, and ground truth if there is any.
            show: Open a window.
            out_file: File to write instead of the backends.
            step: Iteration, for the backends.
        """
        side = max(*image.shape[:2], _LEAST_SIDE)
        picture = draw_panels(image, data_sample, self.panels, self.protocol, side)
        if show:
            self.show(picture, win_name=name)
        if out_file is None:
            self.add_image(name, picture, step)  # on the first process only
        else:
            Path(out_file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(out_file)


def tiles(image: Picture, data_sample: SlotDataSample) -> list[Picture]:
    """Pictures of one sample, see :func:`~mmocl.visualization.overview.overview_tiles`."""
    return list(overview_tiles(image, data_sample).values())
