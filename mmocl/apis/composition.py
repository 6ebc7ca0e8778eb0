from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from mmengine.utils import ProgressBar
from torch import Tensor, nn

from mmocl.apis.aggregate_posterior import AggregatePosterior
from mmocl.models import SlotAutoencoder
from mmocl.models.targets import ReconstructionTarget

# Scenes decoded at a time.
_BATCH = 64


@dataclass(frozen=True)
class Scenes:
    """Composed scenes, on the CPU; ``masks`` is None for a decoder that gives none."""

    slots: Float[Tensor, 'n K D']
    images: UInt8[Tensor, 'n 3 H W']
    masks: Float[Tensor, 'n K h w'] | None


def require_slot_posterior(model: SlotAutoencoder) -> None:
    """Refuse a model whose slot head gives no Gaussians in the space of its slots.

    The head says so by ``has_slot_posterior``; one without this property does not.

    Raises:
        ValueError: If it does not.
    """
    if not getattr(model.slot_head, 'has_slot_posterior', False):
        raise ValueError(
            f'{type(model.slot_head).__name__} as it is set gives no Gaussians in the space of its '
            'slots (has_slot_posterior is not True), so there is no aggregate posterior of slots. '
            "ProbabilisticSlotAttention gives them with variance_space='value' and update='em'."
        )


def require_images(model: nn.Module) -> None:
    """Refuse a model whose reconstructions cannot be drawn.

    Raises:
        ValueError: If it has no target (set prediction), or one that gives no images (features).
    """
    wanted = 'Scenes need a model that reconstructs pixels or tokens of pixels'
    target = getattr(model, 'target', None)
    if target is None:
        raise ValueError(f'{wanted}, but {type(model).__name__} has no target.')
    if type(target).to_images is ReconstructionTarget.to_images:
        raise ValueError(
            f'{wanted}, but its target is {type(target).__name__}, which has no to_images of its '
            'own: what it reconstructs cannot be drawn.'
        )


@torch.no_grad()
def fit_posterior(
    model: SlotAutoencoder,
    dataloader: Iterable[dict],
    num_images: int | None = None,
    num_iters: int | None = None,
    progress: bool = True,
) -> AggregatePosterior:
    """Stream images through a model and collect the aggregate posterior of its slots.

    PSA, `arXiv:2406.07141 <https://arxiv.org/abs/2406.07141>`_, Lemma 1; the paper finds a large
    subset of the images sufficient. Deviations: the released code takes one batch after 10
    iterations, where this takes all images after the model's own number of iterations. The released
    PSA-PROJ stores variances of keys (of a GRU's inputs, too) and uses them for slots; here
    a head must have its variances in the space of its slots. Its ``min_var`` is a part of them.

    Args:
        model: A model whose slot head has ``has_slot_posterior``.
        dataloader: Batches as MMEngine's loaders give them, before the data preprocessor. An
            endless one is left after as many images as its dataset has; with MMEngine's
            ``InfiniteSampler`` it is empty from then on, so do not pass one that still trains.
        num_images: Stop after that many images; all of them if not given.
        num_iters: Another number of iterations of the slot head.
        progress: Show a progress bar.

    Raises:
        ValueError: If the slot head has no Gaussians in the space of its slots, ``num_images`` is
            less than 1, or there are no images.
    """
    require_slot_posterior(model)
    if num_images is not None and num_images < 1:
        raise ValueError(f'num_images must be at least 1, got {num_images}.')
    total = num_images
    dataset = getattr(dataloader, 'dataset', None)
    if isinstance(dataset, Sized):
        total = len(dataset) if total is None else min(total, len(dataset))
    posterior = AggregatePosterior()
    bar = ProgressBar(total or 0) if progress else None
    with _evaluating(model):
        for batch in dataloader:
            inputs = model.data_preprocessor({'inputs': batch['inputs']})['inputs']
            if total is not None:
                inputs = inputs[: total - posterior.num_images]
            posterior.add(model.encode(inputs, num_iters=num_iters))
            if bar is not None:
                bar.update(len(inputs))
            if posterior.num_images == total:
                break
    if posterior.num_images == 0:
        raise ValueError('The dataloader gave no images.')
    return posterior


@torch.no_grad()
def compose_scenes(
    model: SlotAutoencoder,
    posterior: AggregatePosterior,
    num_scenes: int,
    num_slots: int | None = None,
    generator: torch.Generator | None = None,
    equal_weights: bool = False,
) -> Scenes:
    """Draw slots of an aggregate posterior and decode them to images that nobody took.

    Args:
        model: A model that reconstructs pixels, or tokens of a tokenizer, which a transformer then
            samples; the one that the posterior is of.
        posterior: See :func:`fit_posterior`.
        num_scenes: Number of scenes n.
        num_slots: Slots of a scene K; those of the model if not given.
        generator: Source of randomness, on the CPU.
        equal_weights: Draw small slots as often as large ones, see ``AggregatePosterior.sample``.

    Raises:
        ValueError: If the model reconstructs no images, the posterior is empty or its slots
            have another width than the model's, ``num_scenes`` or ``num_slots`` is less than 1, or
            the model paints patches and its decoder gives no masks to tell their grid.
    """
    require_images(model)
    num_slots = model.slot_head.initializer.num_slots if num_slots is None else num_slots
    if num_scenes < 1 or num_slots < 1:
        raise ValueError(
            f'num_scenes and num_slots must be at least 1, got {num_scenes} and {num_slots}.'
        )
    slots = posterior.sample_scenes(num_scenes, num_slots, generator, equal_weights)
    if slots.shape[2] != model.slot_head.slot_dim:
        raise ValueError(
            f'Slots of the posterior are {slots.shape[2]} wide, those of the model '
            f'{model.slot_head.slot_dim}: it is of another model.'
        )
    images, masks = [], []
    with _evaluating(model):
        for batch in slots.to(next(model.parameters())).split(_BATCH):
            decoded = model.decode(batch)
            image = model.to_images(decoded)
            images.append(model.data_preprocessor.to_pixels(image).round().byte().cpu())
            if decoded.masks is not None:
                masks.append(decoded.masks.cpu())
    return Scenes(slots, torch.cat(images), torch.cat(masks) if masks else None)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards every module is in its own mode again."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
