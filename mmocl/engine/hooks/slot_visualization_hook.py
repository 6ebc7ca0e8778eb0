from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from PIL import Image, ImageOps
from torch import Tensor

from mmocl.datasets.transforms import read_image, read_photo
from mmocl.registry import HOOKS
from mmocl.structures import SlotDataSample


@HOOKS.register_module()
class SlotVisualizationHook(Hook):
    """Write pictures of masks during validation and test.

    What a picture shows is chosen by ``panels`` of :class:`SlotVisualizer`. For those that show the
    attention of every update a drawn image runs through the model once more, since a run does not
    keep it; random numbers of the run stay what they are.

    Args:
        interval: Draw the first image of every n-th validation batch.
        show_dir: Folder for pictures of all test images; none are drawn in a test without it.
    """

    priority = 'NORMAL'

    def __init__(self, interval: int = 10, show_dir: str | None = None) -> None:
        if interval < 1:
            raise ValueError(f'interval must be at least 1, got {interval}.')
        self.interval = interval
        self.show_dir = show_dir

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SlotDataSample] | None = None,
    ) -> None:
        """Draw the first image of the batch."""
        if batch_idx % self.interval or not outputs or data_batch is None:
            return
        inputs, sample = data_batch['inputs'][0], outputs[0]
        image = seen_image(inputs, sample)
        visualizer: Visualizer = runner.visualizer
        sample = _with_steps(runner, inputs, sample)
        visualizer.add_datasample(f'val_{batch_idx}', image, sample, step=runner.iter)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SlotDataSample] | None = None,
    ) -> None:
        """Draw every image, if there is a folder for them."""
        if self.show_dir is None or not outputs or data_batch is None:
            return
        for inputs, sample in zip(data_batch['inputs'], outputs, strict=True):
            image = seen_image(inputs, sample)
            out_file = Path(self.show_dir) / f'{sample.img_id}.png'
            shown = _with_steps(runner, inputs, sample)
            runner.visualizer.add_datasample('test', image, shown, out_file=str(out_file))


def _with_steps(runner: Runner, inputs: Tensor, sample: SlotDataSample) -> SlotDataSample:
    """Predict an image again with all that its picture shows, if it shows more than there is."""
    if not getattr(runner.visualizer, 'wants_steps', False):
        return sample
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    if not hasattr(model, 'slot_head'):  # mmsegmentation's EncoderDecoder
        return sample
    device = next(model.parameters()).device
    devices = [device] if device.type == 'cuda' else []
    with torch.random.fork_rng(devices), torch.no_grad():
        batch = model.data_preprocessor({'inputs': [inputs]})
        return model.predict(batch['inputs'], [sample.clone()], keep_steps=True)[0]


def seen_image(inputs: Tensor, data_sample: SlotDataSample) -> UInt8[np.ndarray, 'H W 3']:
    """Return the image that the model saw.

    For cached tokens it is read from its file again; it is grey where there is none.
    """
    if inputs.ndim == 3:
        return inputs.permute(1, 2, 0).cpu().numpy()
    size = data_sample.get('img_shape', (224, 224))
    if data_sample.get('img_path') is None:
        return np.full((*size, 3), 128, np.uint8)
    if data_sample.get('upright'):
        image = Image.fromarray(read_photo(data_sample.img_path))
    else:
        image = read_image(data_sample.img_path)[0]
    if 'frame' in data_sample:
        top, left, bottom, right = data_sample.frame
        image = image.crop((left, top, right, bottom))
    width_and_height = (size[1], size[0])
    if data_sample.get('crop') == 'squash':
        return np.asarray(image.resize(width_and_height))
    return np.asarray(ImageOps.fit(image, width_and_height))
