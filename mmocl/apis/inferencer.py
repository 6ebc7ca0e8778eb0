import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.infer import BaseInferencer
from mmengine.registry import init_default_scope
from PIL import Image
from torch import nn

from mmocl.apis.model_source import resolve_model
from mmocl.datasets import stack_inputs
from mmocl.engine.hooks.slot_visualization_hook import seen_image
from mmocl.model_files import LoadedCheckpoint
from mmocl.models.checkpoint import load_weights, model_of, without_pretrained
from mmocl.registry import MODELS, TRANSFORMS
from mmocl.structures import SlotDataSample
from mmocl.visualization.drawing import Picture, contact_sheet
from mmocl.visualization.slot_visualizer import tiles


class SlotInferencer(BaseInferencer):
    """Find the slots of images: ``SlotInferencer(config, checkpoint)('photo.jpg')``.

    The image goes through the test pipeline of the config, without its annotations. A pipeline that
    cuts a part out of every file (``LoadImage(frame=...)``, as for CLEVR6 and ShapeStacks) does so
    here too, and refuses pictures that are smaller than this frame.

    Args:
        model: Config file, a loaded config, the name of a model
            (:func:`~mmocl.apis.model_index.find_model`), or a published file, which brings config
            and weights.
        weights: Checkpoint or published file. Files are read as data, no code of them is run.
        device: Device, e.g. ``'cuda:0'``; the best one if not given.
        show_progress: Show a progress bar.
    """

    # The keyword arguments of a call, by the step that takes them.
    preprocess_kwargs: ClassVar[set] = set()
    forward_kwargs: ClassVar[set] = set()
    visualize_kwargs: ClassVar[set] = {'out_dir'}
    postprocess_kwargs: ClassVar[set] = set()

    def __init__(
        self,
        model: str | Path | Config | dict | None = None,
        weights: str | Path | None = None,
        device: str | None = None,
        show_progress: bool = True,
    ) -> None:
        config, checkpoint = resolve_model(model, weights)
        init_default_scope('mmocl')
        # MMEngine hands the weights on as they are, to ``_init_model``.
        weights_read: Any = checkpoint
        super().__init__(config, weights_read, device, scope='mmocl', show_progress=show_progress)

    def _init_pipeline(self, cfg: Config) -> Callable[[str], dict]:
        pipeline = cfg.test_dataloader.dataset.get('pipeline')
        if pipeline is None:
            # Generated data has no pipeline: squash a picture to its size.
            size = cfg.test_dataloader.dataset.get('image_size', 64)
            pipeline = [
                {'type': 'LoadImage'},
                {'type': 'ResizeCrop', 'size': size, 'crop': 'squash'},
                {'type': 'PackSlotInputs'},
            ]
        steps = [step for step in pipeline if step['type'] != 'LoadObjectMasks']
        transform = Compose([TRANSFORMS.build(step) for step in steps])

        def load(path: str) -> dict:
            if not Path(path).is_file():
                raise FileNotFoundError(f'No image at {path!r}.')
            return transform({'img_path': str(path), 'img_id': Path(path).stem})

        return load

    def _init_collate(self, cfg: Config) -> Callable:
        # MMEngine would look the config of a collate function up as if it were a name.
        return stack_inputs

    def visualize(
        self, inputs: list, preds: Sequence[SlotDataSample], out_dir: str | None = None
    ) -> list[Picture]:
        """Draw the predictions; write them to ``out_dir`` as ``<image>.png`` if given."""
        pictures = []
        for path, sample in zip(inputs, preds, strict=True):
            data = self.pipeline(path)
            image = seen_image(data['inputs'], data['data_samples'])
            pictures.append(contact_sheet([tiles(image, sample)], tile=max(image.shape[0], 224)))
            if out_dir is not None:
                Path(out_dir).mkdir(parents=True, exist_ok=True)
                picture = Image.fromarray(pictures[-1])
                picture.save(Path(out_dir) / f'{Path(path).stem}.png')
        return pictures

    def postprocess(
        self,
        preds: Sequence[SlotDataSample],
        visualization: list | None = None,
        return_datasamples: bool = False,
    ) -> dict:
        """Return data samples, or arrays, beside the pictures.

        The arrays of an image are ``slots``, soft ``masks`` (attention, if the decoder gives none)
        and of set prediction ``set``: its properties and ``score`` by name, one object a slot.
        """
        predictions: list = list(preds)
        if not return_datasamples:
            predictions = [_arrays(sample) for sample in preds]
        return {'predictions': predictions, 'visualization': visualization}

    def _init_model(
        self, cfg: Config, weights: LoadedCheckpoint | None, device: str = 'cpu'
    ) -> nn.Module:
        if weights is not None:
            cfg.model.backbone = without_pretrained(cfg.model.backbone)
        model = MODELS.build(cfg.model)
        if weights is None:
            warnings.warn('No weights are given: those of the model are random.', stacklevel=4)
        else:
            load_weights(model, weights, model_of(cfg))
        return model.to(device).eval()


def _arrays(sample: SlotDataSample) -> dict[str, Any]:
    arrays = {
        'slots': sample.pred_slots.slots.cpu().numpy(),
        'masks': sample.get('pred_masks', sample.pred_attn).data.cpu().numpy(),
    }
    if 'pred_set' in sample:
        arrays['set'] = {name: value.cpu().numpy() for name, value in sample.pred_set.items()}
    return arrays
