import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from mmocl.models import SlotAutoencoder, SlotDataPreprocessor
from mmocl.models.backbones import ConvEncoder
from mmocl.registry import MODELS
from mmocl.structures import SlotDataSample


def _model(**changes) -> SlotAutoencoder:
    config = {
        'type': 'SlotAutoencoder',
        'backbone': {'type': 'ConvEncoder', 'channels': 8, 'strides': (2,)},
        'slot_head': {
            'type': 'SlotAttention',
            'slot_dim': 12,
            'initializer': {'type': 'GaussianSlots', 'num_slots': 3},
        },
        'decoder': {'type': 'MLPDecoder', 'grid': (8, 8), 'hidden_channels': 16},
        'target': {'type': 'PixelTarget', 'patch_size': 2},
        'losses': [{'type': 'ReconstructionLoss'}],
    }
    return MODELS.build(config | changes)


FEATURES = {
    'backbone': ConvEncoder(channels=8, strides=(2,)).requires_grad_(False),
    'target': {'type': 'FeatureTarget'},
}
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_widths_are_inferred_and_parts_may_be_modules() -> None:
    model = _model()
    assert model.slot_head.token_dim == 8
    assert model.decoder.project.out_features == 2 * 2 * 3 + 1
    again = SlotAutoencoder(
        model.backbone, model.slot_head, model.decoder, model.target, list(model.losses)
    )
    assert again.loss(IMAGES).keys() == {'loss_reconstruction'}


def test_predict_fills_every_field() -> None:
    samples = _model().predict(IMAGES, [SlotDataSample(), SlotDataSample()])
    for sample in samples:
        assert sample.pred_masks.shape == (8, 8)
        assert sample.pred_attn.shape == (8, 8)
        assert sample.pred_slots.slots.shape == (3, 12)
        assert sample.pred_image.data.shape == (3, 16, 16)
        assert 0 <= sample.pred_image.data.min() <= sample.pred_image.data.max() <= 255
        assert sample.recon_error > 0
    with pytest.raises(AssertionError, match='PixelData'):
        samples[0].pred_masks = InstanceData()


def test_predict_says_which_slots_were_decoded_and_their_weights() -> None:
    for sample in _model().predict(IMAGES):
        assert sample.pred_slots.active.tolist() == [True] * 3
        assert 'weight' not in sample.pred_slots
    head = {
        'type': 'ProbabilisticSlotAttention',
        'slot_dim': 12,
        'initializer': {'type': 'GaussianSlots', 'num_slots': 3},
        'prune_threshold': 0.3,
    }
    model = _model(slot_head=head).eval()
    num_active = []
    for sample in model.predict(IMAGES):
        slots = sample.pred_slots
        assert len(slots) == 3
        torch.testing.assert_close(slots.weight.sum(), torch.tensor(1.0))
        torch.testing.assert_close(slots.active, slots.weight > 0.3)
        assert (sample.pred_masks.data.flatten(1).any(1) == slots.active).all()
        num_active.append(int(slots.active.sum()))
    assert 0 < sum(num_active) < 6


def test_encode_and_decode_compose() -> None:
    model = _model().eval()
    output = model.encode(IMAGES, num_slots=5, num_iters=2)
    assert output.slots.shape == (2, 5, 12)
    assert model.decode(output.slots).masks.shape == (2, 5, 8, 8)


def test_cached_tokens_enter_where_the_backbone_ends() -> None:
    model = _model(**FEATURES).eval()
    tokens = model.extract(IMAGES).tokens
    torch.manual_seed(0)
    from_images = model.run(IMAGES)
    torch.manual_seed(0)
    from_tokens = model.run(tokens)
    torch.testing.assert_close(from_tokens.decoded.recon, from_images.decoded.recon)
    with pytest.raises(ValueError, match='square grid, got 60'):
        model.run(tokens[:, :60])


def test_nan_features_are_refused() -> None:
    model = _model(**FEATURES)
    tokens = model.extract(IMAGES).tokens.detach()
    tokens[1, 3, 2] = float('nan')
    with pytest.raises(ValueError, match=r'NaN or infinite values.*1 of 1024'):
        model.loss(tokens)


def test_losses_need_different_names() -> None:
    with pytest.raises(ValueError, match='different names'):
        _model(losses=[{'type': 'ReconstructionLoss'}, {'type': 'ReconstructionLoss'}])


def test_preprocessor_normalises_images_and_stacks_tokens() -> None:
    preprocess = SlotDataPreprocessor()
    image = torch.randint(256, (3, 4, 4), dtype=torch.uint8)
    samples = [SlotDataSample(), SlotDataSample()]
    batch = preprocess({'inputs': [image, image], 'data_samples': samples})
    assert batch['data_samples'] is samples
    assert batch['inputs'].shape == (2, 3, 4, 4)
    assert -1 <= batch['inputs'].min() <= batch['inputs'].max() <= 1
    torch.testing.assert_close(preprocess.to_pixels(batch['inputs'][0]), image.float())
    tokens = torch.randn(9, 5)
    torch.testing.assert_close(preprocess({'inputs': [tokens]})['inputs'], tokens[None])


def test_a_data_sample_keeps_its_fields_typed() -> None:
    sample = SlotDataSample()
    sample.gt_void = PixelData(data=torch.zeros(1, 4, 5))
    assert sample.gt_void.shape == (4, 5)
    assert 'gt_void' in sample
    del sample.gt_void
    assert 'gt_void' not in sample


def test_predict_takes_the_options_of_the_slot_head() -> None:
    model = _model().eval()
    noise = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(0))
    sample = model.predict(IMAGES, num_slots=5, num_iters=4, noise=noise, keep_steps=True)[0]
    assert sample.pred_steps.shape == (4, 5, 8, 8)
    assert torch.equal(sample.pred_steps[-1], sample.pred_attn.data)
    assert not torch.equal(sample.pred_steps[0], sample.pred_steps[-1])
    again = model.predict(IMAGES, num_slots=5, num_iters=1, noise=noise)[0]
    torch.testing.assert_close(again.pred_attn.data, sample.pred_steps[0])
    assert 'pred_steps' not in again


def test_what_every_slot_paints_alone_is_kept_if_asked_for() -> None:
    decoder = {
        'type': 'SpatialBroadcastDecoder',
        'channels': 4,
        'broadcast_size': (8, 8),
        'strides': (2,),
    }
    model = _model(decoder=decoder, target={'type': 'PixelTarget'}).eval()
    noise = torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(0))
    sample = model.predict(IMAGES, noise=noise, keep_steps=True)[1]
    assert sample.pred_slot_images.shape == (3, 3, 16, 16)
    mixed = (sample.pred_slot_images * sample.pred_masks.data[:, None]).sum(0)
    torch.testing.assert_close(mixed, sample.pred_image.data, atol=1e-2, rtol=0)
    assert 'pred_slot_images' not in model.predict(IMAGES, noise=noise)[1]
    # An MLP decoder mixes the slots before it paints.
    assert 'pred_slot_images' not in _model().predict(IMAGES, keep_steps=True)[0]
