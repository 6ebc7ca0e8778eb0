import itertools
from functools import partial
from io import StringIO

import pytest
import torch
from mmengine.runner import Runner
from mmengine.utils import ProgressBar
from torch import nn
from torch.utils.data import DataLoader

from mmocl.apis import AggregatePosterior, compose_scenes, composition, fit_posterior
from mmocl.apis.composition import require_images
from mmocl.models import SlotAutoencoder, SlotSetPredictor
from mmocl.models.backbones import ConvEncoder
from mmocl.models.targets import FeatureTarget
from mmocl.registry import MODELS
from mmocl.structures import Decoded, SlotState

HEAD = {
    'type': 'ProbabilisticSlotAttention',
    'slot_dim': 12,
    'variance_space': 'value',
    'initializer': {'type': 'LearnedSlots', 'num_slots': 3},
}


def _model(head: dict | None = None, **changes) -> SlotAutoencoder:
    torch.manual_seed(0)
    config = {
        'type': 'SlotAutoencoder',
        'backbone': {'type': 'ConvEncoder', 'channels': 8, 'strides': (2,)},
        'slot_head': HEAD | (head or {}),
        'decoder': {
            'type': 'SpatialBroadcastDecoder',
            'channels': 8,
            'broadcast_size': (4, 4),
            'strides': (2, 2),
        },
        'target': {'type': 'PixelTarget'},
        'losses': [{'type': 'ReconstructionLoss'}],
    }
    return MODELS.build(config | changes)


PATCHES = {
    'decoder': {'type': 'MLPDecoder', 'grid': (8, 4), 'hidden_channels': 16},
    'target': {'type': 'PixelTarget', 'patch_size': 2},
}
TOKENS = {
    'tokenizer': {'type': 'DiscreteVAE', 'vocab_size': 6, 'channels': 8},
    'decoder': {
        'type': 'TransformerDecoder',
        'grid': (4, 4),
        'channels': 8,
        'num_layers': 1,
        'num_heads': 2,
    },
    'target': {'type': 'TokenTarget'},
    'losses': [{'type': 'TokenCrossEntropyLoss'}],
}
IMAGES = torch.randint(
    256, (6, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
)


def _batches(size: int) -> list[dict]:
    return [{'inputs': list(images), 'data_samples': None} for images in IMAGES.split(size)]


def _same(a: AggregatePosterior, b: AggregatePosterior) -> None:
    assert a.num_images == b.num_images
    for name in ('weights', 'mean', 'std'):
        torch.testing.assert_close(getattr(a, name), getattr(b, name))


def test_fitting_collects_the_states_of_the_model() -> None:
    model = _model()
    want = AggregatePosterior()
    inputs = model.data_preprocessor({'inputs': list(IMAGES)})['inputs']
    want.add(model.eval().encode(inputs))
    assert want.num_components == 18
    for size in (6, 4, 1):
        _same(fit_posterior(model, _batches(size), progress=False), want)
    more = fit_posterior(model, _batches(6), num_iters=7, progress=False)
    assert not torch.allclose(more.mean, want.mean)


def test_fitting_stops_at_the_images_asked_for() -> None:
    model = _model()
    five = fit_posterior(model, _batches(4), num_images=5, progress=False)
    whole = fit_posterior(model, _batches(6), progress=False)
    assert five.num_images == 5
    torch.testing.assert_close(five.mean, whole.mean[:15])
    assert fit_posterior(model, _batches(4), num_images=99, progress=False).num_images == 6


def test_an_endless_loader_is_read_once() -> None:
    config = {
        'batch_size': 4,
        'num_workers': 0,
        'sampler': {'type': 'InfiniteSampler', 'shuffle': True},
        'dataset': {'type': 'ColoredSprites', 'num_images': 6, 'image_size': 32},
    }
    model, loader = _model(), Runner.build_dataloader(config, seed=0)
    assert fit_posterior(model, loader, progress=False).num_images == 6
    with pytest.raises(ValueError, match='gave no images'):
        fit_posterior(model, loader, progress=False)
    loader = Runner.build_dataloader(config, seed=0)
    assert fit_posterior(model, loader, num_images=9, progress=False).num_images == 6


def test_an_endless_iterator_needs_a_number() -> None:
    endless = itertools.cycle(_batches(4))
    assert fit_posterior(_model(), endless, num_images=11, progress=False).num_images == 11


def test_progress_is_shown_with_an_eta(monkeypatch) -> None:
    shown = StringIO()
    monkeypatch.setattr(composition, 'ProgressBar', partial(ProgressBar, file=shown))
    fit_posterior(_model(), _batches(4), progress=False)
    assert not shown.getvalue()
    fit_posterior(_model(), DataLoader(IMAGES, 4, collate_fn=lambda x: {'inputs': x}))
    assert '4/6' in shown.getvalue()
    assert 'ETA' in shown.getvalue()
    fit_posterior(_model(), iter(_batches(4)))  # an end that is not known
    assert 'completed: 6' in shown.getvalue()


def test_every_module_gets_its_mode_back_and_runs_without_its_gradient() -> None:
    model = _model().train()
    model.backbone.eval()
    seen = []

    def note(module: nn.Module, args: tuple, output: object) -> None:
        seen.append((module.training, torch.is_grad_enabled()))

    for part in (model.slot_head, model.decoder):
        part.register_forward_hook(note)
    compose_scenes(model, fit_posterior(model, _batches(6), progress=False), 2)
    assert seen == [(False, False)] * 2
    assert model.training
    assert model.slot_head.training
    assert not model.backbone.training
    with pytest.raises(KeyError):
        fit_posterior(model, [{}], progress=False)
    assert model.slot_head.training


@pytest.mark.parametrize('changes', [{}, PATCHES], ids=['images', 'patches'])
def test_scenes_are_decoded_samples(changes, monkeypatch) -> None:
    monkeypatch.setattr(composition, '_BATCH', 3)
    model = _model(**changes).eval()
    posterior = fit_posterior(model, _batches(6), progress=False)
    scenes = compose_scenes(model, posterior, 8, generator=torch.Generator().manual_seed(4))
    slots = posterior.sample_scenes(8, 3, torch.Generator().manual_seed(4))
    torch.testing.assert_close(scenes.slots, slots, rtol=0, atol=0)
    with torch.no_grad():
        decoded = model.decode(slots)
    assert scenes.masks is not None
    torch.testing.assert_close(scenes.masks, decoded.masks)
    pixels = decoded.recon
    if changes:
        # Patch n of the 8x4 grid, channels first, lies at row n // 4 and column n % 4.
        pixels = pixels.view(8, 8, 4, 3, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(8, 3, 16, 8)
    pixels = (pixels * 127.5 + 127.5).clamp(0, 255)
    assert scenes.images.dtype == torch.uint8
    assert scenes.images.shape == pixels.shape
    assert (scenes.images - pixels).abs().max() <= 0.51
    assert not torch.equal(scenes.images[0], scenes.images[1])


def test_scenes_of_tokens_are_sampled_by_the_transformer() -> None:
    model = _model(**TOKENS).eval()
    posterior = fit_posterior(model, _batches(6), progress=False)
    scenes = compose_scenes(model, posterior, 2)
    with torch.no_grad():
        ids = model.decode(scenes.slots).recon.argmax(2).unflatten(1, (4, 4))
        pixels = model.tokenizer.decode_ids(ids) * 127.5 + 127.5
    assert scenes.images.shape == (2, 3, 16, 16)
    assert (scenes.images - pixels.clamp(0, 255)).abs().max() <= 0.51
    assert scenes.masks.shape == (2, 3, 4, 4)


def test_scenes_take_another_number_of_slots() -> None:
    model = _model()
    posterior = fit_posterior(model, _batches(6), progress=False)
    scenes = compose_scenes(model, posterior, 2, num_slots=5)
    assert scenes.slots.shape == (2, 5, 12)
    assert scenes.masks is not None
    torch.testing.assert_close(scenes.masks.sum(1), torch.ones(2, 16, 16))


def test_a_decoder_without_masks_gives_images_only(monkeypatch) -> None:
    for changes, recon in (({}, (2, 3, 16, 16)), (PATCHES, (2, 32, 12))):
        model = _model(**changes)
        posterior = fit_posterior(model, _batches(6), progress=False)
        plain = Decoded(torch.zeros(recon))
        monkeypatch.setattr(model, 'decode', lambda slots, plain=plain: plain)
        if changes:
            with pytest.raises(ValueError, match='their grid is not known'):
                compose_scenes(model, posterior, 2)
        else:
            scenes = compose_scenes(model, posterior, 2)
            assert scenes.masks is None
            assert scenes.images.shape == recon


@pytest.mark.parametrize(
    'head',
    [
        {'variance_space': 'key'},
        {'update': 'gru_mlp'},
        {'variance_space': 'key', 'projections': 'none', 'embed_channels': 8},
    ],
)
def test_variances_must_live_in_the_space_of_the_slots(head) -> None:
    with pytest.raises(ValueError, match=r"Attention as it is set .* variance_space='value'"):
        fit_posterior(_model(head), _batches(6), progress=False)


def test_a_textbook_mixture_has_its_keys_in_the_space_of_the_slots() -> None:
    head = {
        'variance_space': 'key',
        'projections': 'none',
        'normalize': False,
        'embed_channels': 8,
    }
    assert fit_posterior(_model(head), _batches(6), progress=False).num_components == 18


def test_slot_attention_has_no_posterior() -> None:
    head = {'type': 'SlotAttention', 'slot_dim': 12, 'initializer': HEAD['initializer']}
    with pytest.raises(ValueError, match='SlotAttention as it is set gives no Gaussians'):
        fit_posterior(_model(slot_head=head), _batches(6), progress=False)


def test_features_cannot_be_drawn() -> None:
    changes = {
        'backbone': ConvEncoder(channels=8, strides=(2,)).requires_grad_(False),
        'decoder': {'type': 'MLPDecoder', 'grid': (8, 8), 'hidden_channels': 16},
        'target': {'type': 'FeatureTarget'},
    }
    model = _model(**changes)
    posterior = fit_posterior(model, _batches(6), progress=False)
    with pytest.raises(ValueError, match=r'FeatureTarget, .* cannot be drawn'):
        compose_scenes(model, posterior, 2)


def test_every_target_without_images_is_refused_and_no_target_too() -> None:
    class Edges(FeatureTarget):
        pass

    class Painted(FeatureTarget):
        def to_images(self, decoded: Decoded, tokenizer: object = None) -> torch.Tensor:
            return decoded.recon

    model = _model()
    model.target = Edges()
    with pytest.raises(ValueError, match=r'its target is Edges, .* cannot be drawn'):
        require_images(model)
    model.target = Painted()
    require_images(model)
    predictor = SlotSetPredictor(
        model.backbone,
        model.slot_head,
        {
            'type': 'PropertyDecoder',
            'properties': [{'name': 'scale', 'size': 1, 'kind': 'value'}],
            'hidden_channels': 8,
        },
        [{'type': 'SetPredictionLoss'}],
    )
    with pytest.raises(ValueError, match='pixels, but SlotSetPredictor has no target'):
        require_images(predictor)


def test_bad_arguments_say_what_is_expected() -> None:
    model = _model()
    with pytest.raises(ValueError, match='num_images must be at least 1, got 0'):
        fit_posterior(model, _batches(6), num_images=0, progress=False)
    with pytest.raises(ValueError, match='is empty'):
        compose_scenes(model, AggregatePosterior(), 2)
    posterior = AggregatePosterior()
    posterior.add(SlotState(torch.zeros(1, 2, 7), torch.zeros(1, 2, 7), torch.zeros(1, 2)))
    with pytest.raises(ValueError, match='7 wide, those of the model 12'):
        compose_scenes(model, posterior, 2)
    for numbers in ((0, 3), (2, 0)):
        with pytest.raises(ValueError, match='at least 1, got'):
            compose_scenes(model, posterior, *numbers)
