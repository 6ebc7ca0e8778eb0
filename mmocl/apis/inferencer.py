import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from mmengine.registry import init_default_scope
from rich.progress import track
from torch import nn

from mmocl.apis.model_source import resolve_model
from mmocl.apis.output_files import output_names, write_overlay
from mmocl.apis.picture_batches import Found, run_in_batches
from mmocl.apis.picture_pipeline import PicturePipeline
from mmocl.apis.pictures import Picture, Source, find_sources, is_single, read_pictures
from mmocl.apis.slot_arrays import mask_source, slot_arrays
from mmocl.apis.slot_map import slot_map, slot_overlay
from mmocl.datasets import stack_inputs
from mmocl.datasets.transforms import MAX_PIXELS
from mmocl.datasets.transforms.load_photo import require_limit
from mmocl.model_files import LoadedCheckpoint
from mmocl.models.checkpoint import load_weights, model_of, without_pretrained
from mmocl.registry import MODELS
from mmocl.structures import SlotDataSample, SlotOptions
from mmocl.visualization import drawing


class SlotInferencer(BaseInferencer):
    """Find the slots of images: ``SlotInferencer(config, checkpoint)('photo.jpg')``.

    Pictures are read as a person sees them, see :func:`~mmocl.datasets.transforms.read_photo`.
    They are shown whole if the model can look at any size, else as by the test pipeline of the
    config, see :class:`PicturePipeline`. Nothing is random: slots that start from draws start from
    the same ones in every image.

    Args:
        model: Config file, a loaded config, the name of a model
            (:func:`~mmocl.apis.model_index.find_model`), or a published file, which brings config
            and weights.
        weights: Checkpoint or published file, or the content of one. Files are read as data; no
            code of them is run.
        device: Device, e.g. ``'cuda:0'``; the best one if not given.
        show_progress: Show a progress bar.
    """

    # MMEngine's way to share out the arguments of a call, which have names here.
    preprocess_kwargs: ClassVar[set] = set()
    forward_kwargs: ClassVar[set] = set()
    visualize_kwargs: ClassVar[set] = set()
    postprocess_kwargs: ClassVar[set] = set()

    def __init__(
        self,
        model: str | Path | Config | dict | None = None,
        weights: str | Path | LoadedCheckpoint | None = None,
        device: str | None = None,
        show_progress: bool = True,
    ) -> None:
        config, checkpoint = resolve_model(model, weights)
        init_default_scope('mmocl')
        # MMEngine hands the weights on as they are, to ``_init_model``.
        weights_read: Any = checkpoint
        super().__init__(config, weights_read, device, scope='mmocl', show_progress=show_progress)

    def __call__(  # type: ignore[override]
        self,
        inputs: object,
        return_datasamples: bool = False,
        batch_size: int = 1,
        out_dir: str | Path | None = None,
        num_slots: int | None = None,
        num_iters: int | None = None,
        keep_steps: bool = False,
        fit: str | None = None,
        masks: str | None = None,
        seed: int = 0,
        max_pixels: int | None = MAX_PIXELS,
        draw: bool = True,
    ) -> dict[str, list]:
        """Find the slots of pictures, and hold the results of all; :meth:`stream` holds a batch.

        Args:
            inputs: An image, a video, a folder, a pattern, an array, or a list of these, see
                :func:`~mmocl.apis.pictures.find_sources`.
            return_datasamples: Return ``SlotDataSample`` instead of arrays.
            batch_size: Most pictures at a time; only those of one shape meet in a batch.
            out_dir: Folder for the drawn pictures, one a picture under its name.
            num_slots: Another number of slots, where the initializer allows it.
            num_iters: Another number of updates of the slots.
            keep_steps: Also return the attention of every update.
            fit: ``'aspect'`` for whole pictures, ``'config'`` for the test pipeline of the config;
                see :class:`PicturePipeline`.
            masks: Masks to draw: ``'decoder'`` or ``'attention'``, see :func:`mask_source`.
            seed: Of slots that start at random: all images share the draws.
            max_pixels: Most pixels of an image file; None: any number.
            draw: Whether to draw pictures.

        Returns:
            ``predictions``: what :func:`slot_arrays` gives for every picture that could be read;
            ``visualization``: masks drawn over them; ``failed``: dicts of ``path`` and ``reason``
            for those that could not.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If inputs or options are no good, or a file that is given alone cannot be
                read.
        """
        if masks not in (None, 'decoder', 'attention'):
            raise ValueError(f"masks must be 'decoder', 'attention' or None, got {masks!r}")
        single = is_single(inputs)
        sources = find_sources(inputs)
        num_pictures = sum(source.num_pictures for source in sources)
        found: Iterable[Found] = self.stream(
            sources, batch_size, num_slots, num_iters, keep_steps, fit, seed, max_pixels
        )
        if self.show_progress:
            found = track(found, description='Inference', total=num_pictures)
        pictures, samples, failed = [], [], []
        for picture, sample in found:
            if sample is not None:
                pictures.append(picture)
                samples.append(sample)
            elif single and not samples and picture.error is not None:
                raise picture.error
            else:
                failed.append({'path': str(picture.path), 'reason': str(picture.error)})
        drawn = self.visualize(pictures, samples, masks, out_dir) if draw or out_dir else []
        return {**self.postprocess(samples, drawn, return_datasamples, masks), 'failed': failed}

    def stream(
        self,
        inputs: object,
        batch_size: int = 1,
        num_slots: int | None = None,
        num_iters: int | None = None,
        keep_steps: bool = False,
        fit: str | None = None,
        seed: int = 0,
        max_pixels: int | None = MAX_PIXELS,
    ) -> Iterator[Found]:
        """Find the slots of one picture after the other, in order; no more than a batch is held.

        Args:
            inputs: As in a call, or sources of :func:`~mmocl.apis.pictures.find_sources`.
            batch_size: See a call, as for all others.
            num_slots: Number of slots.
            num_iters: Number of updates.
            keep_steps: Keep the attention of every update.
            fit: How pictures are shown.
            seed: Of the draws.
            max_pixels: Most pixels of a file.

        Returns:
            Pairs of a :class:`~mmocl.apis.pictures.Picture`, whose ``image`` is the upright one,
            and its prediction; of None, if the picture has an ``error`` instead.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If inputs or options are no good.
        """
        require_whole({'batch_size': batch_size, 'seed': seed})
        counts = {'num_slots': num_slots, 'num_iters': num_iters}
        require_whole({name: count for name, count in counts.items() if count is not None})
        if batch_size < 1:
            raise ValueError(f'batch_size must be at least 1, got {batch_size}')
        require_limit(max_pixels)
        pipeline = PicturePipeline(self.cfg, self.model, fit)
        # Here and not with the first picture, so that a call is refused before it does anything.
        self.model.slot_head.initializer.seeded_noise(1, num_slots, seed)
        sources: list[Source] = []
        if isinstance(inputs, list) and inputs and all(isinstance(i, Source) for i in inputs):
            sources = inputs
        else:
            sources = find_sources(inputs)
        pictures = read_pictures(sources, max_pixels)

        def run(shown: Sequence[dict]) -> list[SlotDataSample]:
            return self.forward(self.collate_fn(shown), num_slots, num_iters, keep_steps, seed)

        return run_in_batches(pictures, pipeline, run, batch_size)

    @torch.no_grad()
    def forward(  # type: ignore[override]
        self,
        inputs: dict,
        num_slots: int | None = None,
        num_iters: int | None = None,
        keep_steps: bool = False,
        seed: int = 0,
    ) -> list[SlotDataSample]:
        """Run the model on a batch; see a call for the options."""
        data = self.model.data_preprocessor(inputs, False)
        images = data['inputs']
        noise = self.model.slot_head.initializer.seeded_noise(len(images), num_slots, seed)
        options = SlotOptions(
            num_slots=num_slots,
            num_iters=num_iters,
            noise=None if noise is None else noise.to(images),
            keep_steps=keep_steps,
        )
        return self.model.predict(images, data['data_samples'], **options)

    def visualize(  # type: ignore[override]
        self,
        inputs: Sequence[Picture],
        preds: Sequence[SlotDataSample],
        masks: str | None = None,
        out_dir: str | Path | None = None,
    ) -> list[drawing.Picture]:
        """Draw the masks over the pictures; write these to ``out_dir`` if given."""
        drawn = []
        for picture, sample in zip(inputs, preds, strict=True):
            assert picture.image is not None
            ids = slot_map(sample, mask_source(sample, masks))
            drawn.append(slot_overlay(picture.image, ids))
        if out_dir is not None:
            names = output_names([picture.name for picture in inputs])
            for name, image in zip(names, drawn, strict=True):
                write_overlay(Path(out_dir, name), image)
        return drawn

    def postprocess(  # type: ignore[override]
        self,
        preds: Sequence[SlotDataSample],
        visualization: list[np.ndarray],
        return_datasamples: bool = False,
        masks: str | None = None,
    ) -> dict[str, list]:
        """Return data samples, or arrays, beside the pictures."""
        predictions: list = list(preds)
        if not return_datasamples:
            predictions = [slot_arrays(sample, masks) for sample in preds]
        return {'predictions': predictions, 'visualization': visualization}

    def _init_pipeline(self, cfg: Config) -> Callable[..., dict[str, Any]]:
        return PicturePipeline(cfg, self.model, 'config')

    def _init_collate(self, cfg: Config) -> Callable:
        # MMEngine would look the config of a collate function up as if it were a name.
        return stack_inputs

    def _init_visualizer(self, cfg: Config) -> None:
        """None: :meth:`visualize` draws, and MMEngine's visualizer would ask for a folder."""

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


def require_whole(options: Mapping[str, object]) -> None:
    """Refuse options by name that are no whole numbers.

    Raises:
        ValueError: If there is one.
    """
    for name, value in options.items():
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise ValueError(f'{name} must be a whole number, got {value!r}')
