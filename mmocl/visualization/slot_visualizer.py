from pathlib import Path

import numpy as np
from jaxtyping import Int64
from mmengine.visualization import Visualizer
from PIL import Image

from mmocl.evaluation.functional.label_map import label_map
from mmocl.registry import VISUALIZERS
from mmocl.structures import SlotDataSample
from mmocl.visualization.drawing import Picture, colorize, contact_sheet, overlay


@VISUALIZERS.register_module()
class SlotVisualizer(Visualizer):
    """Draw the slots of one image: input, reconstruction, masks, attention, true masks.

    Takes the arguments of MMEngine's ``Visualizer``.
    """

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
        picture = contact_sheet([tiles(image, data_sample)], tile=max(image.shape[0], 224))
        if show:
            self.show(picture, win_name=name)
        if out_file is None:
            self.add_image(name, picture, step)  # on the first process only
        else:
            Path(out_file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(out_file)


def tiles(image: Picture, data_sample: SlotDataSample) -> list[Picture]:
    """Pictures of one sample, those that its fields allow, in the order of the class docstring."""
    size = (image.shape[0], image.shape[1])
    pictures = [image]
    if 'pred_image' in data_sample:
        recon = data_sample.pred_image.data.permute(1, 2, 0).round().byte()
        pictures.append(recon.cpu().numpy())
    for field in ('pred_masks', 'pred_attn'):
        if field in data_sample:
            ids = label_map(getattr(data_sample, field).data.detach(), size)
            pictures.append(overlay(image, ids.cpu().numpy()))
    if 'gt_objects' in data_sample and 'masks' in data_sample.gt_objects:
        crop = data_sample.get('crop', 'center')
        pictures.append(colorize(_true_ids(data_sample, crop), background=True))
    return pictures


def _true_ids(data_sample: SlotDataSample, crop: str) -> Int64[np.ndarray, 'h w']:
    """Object ids on the part of the image that the model saw; later objects lie on top."""
    masks = data_sample.gt_objects.masks.numpy(force=True)
    ids = np.zeros(masks.shape[1:], np.int64)
    for i, mask in enumerate(masks, start=1):
        ids[mask] = i
    if crop == 'center':
        height, width = masks.shape[1:]
        short = min(height, width)
        top, left = (height - short) // 2, (width - short) // 2
        ids = ids[top : top + short, left : left + short]
    return ids
