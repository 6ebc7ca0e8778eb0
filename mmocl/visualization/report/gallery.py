"""Run the model on some images, and make of each what the page shows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from torch import Tensor, nn

from mmocl.datasets.without_caches import without_caches
from mmocl.engine.hooks.slot_visualization_hook import seen_image
from mmocl.models import SlotAutoencoder, SlotSetPredictor
from mmocl.models.checkpoint import load_trained, without_pretrained
from mmocl.registry import DATASETS, MODELS
from mmocl.structures import SlotDataSample
from mmocl.visualization.drawing import Picture, palette
from mmocl.visualization.report.content import GalleryImage, SlotInfo
from mmocl.visualization.report.encode import MAX_IDS, ids_uri, level_of, picture_uri
from mmocl.visualization.report.scores import split_source
from mmocl.visualization.report.selection import Choice
from mmocl.visualization.sample_maps import (
    active_slots,
    drawn_objects,
    slot_ids,
    tile_size,
    to_picture,
    true_ids,
)

# Longest side of the maps of slots.
_SIDE = 176
# Beside these a map holds background and what is not annotated.
MAX_OBJECTS = MAX_IDS - 2
# Of what is known of an image in a record, what is no score.
_NO_SCORES = ('img_id', 'num_objects', 'shown', 'weights')
_SEED = 0
LOADERS = ('test_dataloader', 'val_dataloader', 'train_dataloader')

Seen = tuple[Picture, SlotDataSample]


def build_data(config: Config) -> tuple[str, Any]:
    """The data to look at: that of the test, or else of validation or training.

    Images are read from their files rather than as cached tokens.

    Returns:
        The key of the config it is of, and the dataset.

    Raises:
        FileNotFoundError: If the data is not there.
        ImportError: If it is of a library that is not there.
        KeyError: If it is not known.
        ValueError: If the config has no data, or it does not fit its folder.
    """
    init_default_scope('mmocl')
    keys = [key for key in LOADERS if config.get(key)]
    if not keys:
        raise ValueError(f'the config has none of {", ".join(LOADERS)}')
    return keys[0], DATASETS.build(without_caches(config[keys[0]]['dataset']))


def shows_updates(config: Config) -> bool:
    """Whether the updates of the config's model can be shown; nothing is built."""
    init_default_scope('mmocl')
    try:
        kind = MODELS.find(config.model.type)
    except ImportError:  # a library that is not there
        return False
    return isinstance(kind, type) and issubclass(kind, SlotAutoencoder | SlotSetPredictor)


def build_model(config: Config, checkpoint: str, device: str) -> nn.Module:
    """The trained model of a config.

    Raises:
        ImportError: If a part of it is of a library that is not there.
        KeyError: If a part of it is not known.
        ValueError: If the checkpoint does not fit.
    """
    init_default_scope('mmocl')
    settings = {**config.model}
    if 'backbone' in settings:
        settings['backbone'] = without_pretrained(settings['backbone'])
    model = MODELS.build(settings)
    load_trained(model, checkpoint, 'the model of the config')
    return model.to(device).eval()


def other_images(data: Any, choices: Sequence[Choice]) -> str | None:
    """What says that the records of the chosen images are of other ones; None if nothing does."""
    for choice in choices:
        if choice.record is not None:
            recorded = choice.record.get('img_id')
            found = data[choice.index]['data_samples'].get('img_id')
            if recorded != found:
                return (
                    f'position {choice.index} is image {recorded!r} of the record, but {found!r} '
                    'of the data'
                )
    return None


@torch.no_grad()
def look(
    model: Any,
    data: Any,
    choices: Sequence[Choice],
    progress: Callable[[Sequence[Choice]], Iterable[Choice]] = iter,
) -> list[Seen]:
    """Predict the chosen images, with the attention of every update.

    Args:
        model: A trained model.
        data: The test data.
        choices: Images to predict.
        progress: What goes through the images, such as a progress bar.

    Returns:
        What the model saw of every image, and its predictions on the CPU.
    """
    set_random_seed(_SEED)
    seen = []
    for choice in progress(choices):
        item = data[choice.index]
        inputs, sample = item['inputs'], item['data_samples']
        batch = model.data_preprocessor({'inputs': [inputs], 'data_samples': [sample]})
        (predicted,) = model.predict(batch['inputs'], batch['data_samples'], keep_steps=True)
        seen.append((seen_image(inputs, predicted), predicted.cpu()))
    return seen


def gallery_image(choice: Choice, image: Picture, sample: SlotDataSample) -> GalleryImage:
    """What the page shows of an image."""
    size = tile_size(image, _SIDE)
    attn = sample.pred_steps if 'pred_steps' in sample else sample.pred_attn.data[None]
    num_slots = attn.shape[1]

    def slots_uri(masks: Float[Tensor, 'K h w']) -> str:
        return ids_uri(slot_ids(sample, masks.float(), size), num_slots + 1)

    truth, drawn = true_ids(sample, size), drawn_objects(sample)
    num_objects, no_truth = 0 if drawn is None else int(drawn.sum()), ''
    if num_objects > MAX_OBJECTS:
        no_truth = f'there are {num_objects}, and a page shows at most {MAX_OBJECTS} of an image'
        truth, num_objects = None, 0
    recon = None
    if 'pred_image' in sample:
        recon = picture_uri(to_picture(sample.pred_image.data))
    return GalleryImage(
        name=str(sample.get('img_id', choice.index)),
        labels=choice.labels,
        image=picture_uri(image),
        size=(image.shape[0], image.shape[1]),
        steps=[slots_uri(step) for step in attn],
        slots=_slots(sample, num_slots),
        slot_level=level_of(num_slots + 1),
        masks=slots_uri(sample.pred_masks.data) if 'pred_masks' in sample else None,
        truth=None if truth is None else ids_uri(truth, num_objects + 2),
        no_truth=no_truth,
        recon=recon,
        object_level=level_of(num_objects + 2),
        objects=[f'object {i}' for i in range(1, num_objects + 1)],
        scores=_scores(choice.record or {}),
    )


def colors_of(images: Sequence[GalleryImage]) -> list[str]:
    """Colours of slots and objects, by index."""
    counts = [max(len(image.slots), len(image.objects)) for image in images]
    colors = palette(max(counts, default=0))
    return [f'#{red:02x}{green:02x}{blue:02x}' for red, green, blue in colors.tolist()]


def _slots(sample: SlotDataSample, num_slots: int) -> list[SlotInfo]:
    fields = sample.pred_slots
    active = active_slots(sample, num_slots).tolist()
    weights = fields.weight.tolist() if 'weight' in fields else [None] * num_slots
    return [SlotInfo(*pair) for pair in zip(active, weights, strict=True)]


def _scores(record: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """Scores of an image by name and by what masks they are of."""
    scores: dict[str, dict[str, float | None]] = {}
    for key, value in record.items():
        if key not in _NO_SCORES and isinstance(value, int | float | None):
            name, source = split_source(key)
            scores.setdefault(name, {})[source] = value
    return scores
