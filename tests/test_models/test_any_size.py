import pytest
import torch

from mmocl.models.decoders import MLPDecoder, SpatialBroadcastDecoder, TransformerDecoder
from mmocl.models.layers import TokenEmbedding, resized_positions
from mmocl.models.size_multiple import size_multiple
from mmocl.registry import MODELS
from mmocl.structures import Target

HEAD = {
    'type': 'SlotAttention',
    'slot_dim': 12,
    'initializer': {'type': 'LearnedSlots', 'num_slots': 3},
}
CONV = {'type': 'ConvEncoder', 'channels': 8, 'strides': (2,)}
VIT = {
    'type': 'TimmBackbone',
    'model_name': 'vit_tiny_patch16_224',
    'block': 0,
    'position_resize': 'plain',
}
DVAE = {'type': 'DiscreteVAE', 'vocab_size': 16, 'channels': 4}
TRANSFORMER = {'type': 'TransformerDecoder', 'channels': 16, 'num_layers': 1, 'num_heads': 2}
RECON = [{'type': 'ReconstructionLoss'}]
# Parts, the size of the config, another size and the mask of it, and what sides are multiples of.
MODELS_OF_ANY_SIZE = {
    'pixels': (
        {
            'backbone': CONV,
            'decoder': {
                'type': 'SpatialBroadcastDecoder',
                'channels': 8,
                'broadcast_size': (4, 4),
                'strides': (2, 2),
            },
            'target': {'type': 'PixelTarget'},
        },
        (16, 16),
        (8, 20),
        (8, 20),
        4,
    ),
    'patches': (
        {
            'backbone': {**CONV, 'strides': (1,)},
            'decoder': {'type': 'MLPDecoder', 'grid': (4, 4), 'hidden_channels': 16},
            'target': {'type': 'PixelTarget', 'patch_size': 3},
        },
        (12, 12),
        (21, 9),
        (7, 3),
        3,
    ),
    'features': (
        {
            'backbone': VIT,
            'decoder': {'type': 'MLPDecoder', 'grid': (3, 3), 'hidden_channels': 16},
            'target': {'type': 'FeatureTarget'},
        },
        (48, 48),
        (32, 64),
        (2, 4),
        16,
    ),
    'orders': (
        {
            'backbone': VIT,
            'decoder': {
                **TRANSFORMER,
                'grid': (3, 3),
                'orders': ['columns', 'spiral'],
                'average_orders': True,
            },
            'target': {'type': 'FeatureTarget'},
        },
        (48, 48),
        (32, 64),
        (2, 4),
        16,
    ),
    'tokens': (
        {
            'backbone': {'type': 'TokenBackbone', 'channels': 16},
            'decoder': {**TRANSFORMER, 'grid': (4, 4), 'blocks': 'slate'},
            'target': {'type': 'TokenTarget'},
            'tokenizer': DVAE,
            'losses': [{'type': 'TokenCrossEntropyLoss'}],
        },
        (16, 16),
        (12, 24),
        (3, 6),
        4,
    ),
}


def _build(name: str):
    torch.manual_seed(0)
    parts, *sizes = MODELS_OF_ANY_SIZE[name]
    config = {'type': 'SlotAutoencoder', 'slot_head': HEAD, 'losses': RECON, **parts}
    return MODELS.build(config), *sizes


@pytest.mark.parametrize('name', MODELS_OF_ANY_SIZE)
def test_evaluation_takes_any_size_and_training_one(name: str) -> None:
    model, native, other, grid, multiple = _build(name)
    assert size_multiple(model) == multiple
    images = torch.randn(2, 3, *other)
    with pytest.raises(ValueError, match=r'decoder.(grid|broadcast_size)'):
        model.train().loss(images)
    model.train().loss(torch.randn(2, 3, *native))
    output = model.eval().run(images)
    assert output.decoded.masks.shape == (2, 3, *grid)
    torch.testing.assert_close(output.decoded.masks.sum(1), torch.ones(2, *grid))
    assert output.decoded.recon.shape[:2] == (
        (2, 3) if name == 'pixels' else (2, grid[0] * grid[1])
    )
    for sample in model.predict(images):
        assert sample.pred_masks.shape == grid


@pytest.mark.parametrize('name', MODELS_OF_ANY_SIZE)
def test_nothing_changes_at_the_size_of_the_config(name: str, monkeypatch) -> None:
    model, native, *_ = _build(name)
    images = torch.randn(2, 3, *native)
    with torch.no_grad():
        before = model.eval().run(images)
        # The grid of a target that is not known leaves no choice but the own one.
        target = Target(before.target.values)
        decoded = model.decode(before.slots.slots, None if name == 'pixels' else target)
    assert torch.equal(before.decoded.masks, decoded.masks)
    assert torch.equal(before.decoded.recon, decoded.recon)

    def refuse(*args: object) -> None:
        raise AssertionError('positions were resized')

    monkeypatch.setattr(torch.nn.functional, 'interpolate', refuse)
    decoder = model.decoder
    if name not in ('features', 'orders'):  # there the backbone resizes its own positions
        model.run(images)
    decoder(before.slots.slots, before.target)


def test_positions_of_a_coarser_grid_are_averages() -> None:
    columns = torch.tensor([1.0, 0, 0, 1, 1, 0, 0, 1])
    positions = columns.expand(8, 8).reshape(1, 64, 1)
    found = resized_positions(positions, (8, 8), (2, 2))
    torch.testing.assert_close(found, torch.full((1, 4, 1), 0.5), atol=0.1, rtol=0)


def test_positions_keep_their_place() -> None:
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing='ij')
    positions = torch.stack([(y + 0.5) / 8, (x + 0.5) / 8], dim=-1).view(1, 64, 2)
    assert resized_positions(positions, (8, 8), (8, 8)) is positions
    for grid in ((16, 12), (4, 4), (5, 20)):
        there = resized_positions(positions, (8, 8), grid).view(*grid, 2)
        for axis, size in enumerate(grid):
            line = there.select(1 - axis, 0)[:, axis]
            want = (torch.arange(size) + 0.5) / size
            # Away from the borders, where there is nothing beyond to look at.
            inner = slice(size // 4, size - size // 4)
            torch.testing.assert_close(line[inner], want[inner], atol=0.02, rtol=0)
    half = resized_positions(positions.bfloat16(), (8, 8), (4, 4))
    assert half.dtype == torch.bfloat16
    # Same number of places, other grid.
    assert not torch.equal(resized_positions(positions, (8, 8), (4, 16)), positions)


def test_masks_follow_a_stretched_grid() -> None:
    """A decoder whose masks say left or right says so on any grid."""
    decoder = MLPDecoder(2, 2, (4, 4), hidden_channels=4, num_hidden=1).eval()
    x = torch.linspace(-1, 1, 4).repeat(4)
    with torch.no_grad():
        decoder.position.copy_(torch.stack([x, -x], dim=-1)[None])
        decoder.hidden[0].weight.copy_(torch.tensor([[1.0, 0], [0, 1], [0, 0], [0, 0]]))
        decoder.project.weight.zero_()
        decoder.project.weight[-1, :2] = torch.tensor([1.0, -1])
    slots = torch.tensor([[[5.0, -5.0], [-5.0, 5.0]]])
    own = decoder(slots).masks.argmax(1)
    for grid in ((2, 6), (9, 8)):
        masks = decoder(slots, Target(torch.zeros(1, grid[0] * grid[1], 2), grid=grid)).masks
        assert masks.shape == (1, 2, *grid)
        assert own.unique().tolist() == masks.argmax(1).unique().tolist()


def test_tokens_on_another_grid_are_refused_in_training() -> None:
    embedding = TokenEmbedding(5, 8, (2, 3))
    ids = torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match=r'grid of \(2, 2\) were given, .* learned for \(2, 3\)'):
        embedding(ids, (2, 2))
    assert embedding.eval()(ids, (2, 2)).shape == (1, 5, 8)
    with pytest.raises(ValueError, match='the target has a grid that is not known, 4 tokens'):
        MLPDecoder(8, 5, grid=(4, 4)).eval()(torch.randn(1, 2, 8), Target(torch.zeros(1, 4, 5)))


def test_a_canvas_that_the_stride_does_not_divide_is_refused() -> None:
    decoder = SpatialBroadcastDecoder(8, channels=4, strides=(2,)).eval()
    with pytest.raises(ValueError, match=r'paints \(16, 16\) images, but the target is \(6, 7\)'):
        decoder(torch.randn(1, 2, 8), Target(torch.zeros(1, 3, 6, 7)))


def test_models_of_one_size_are_named() -> None:
    parts = {'backbone': CONV, 'target': {'type': 'PixelTarget'}, 'losses': RECON}
    config = {'type': 'SlotAutoencoder', 'slot_head': HEAD, **parts}
    model = MODELS.build({**config, 'decoder': {'type': 'ConvDecoder', 'channels': 4}})
    with pytest.raises(ValueError, match=r'model.decoder, a ConvDecoder, takes images of one '):
        size_multiple(model)
    mixer = {'type': 'TimmBackbone', 'model_name': 'mixer_s32_224', 'block': 0}
    assert MODELS.build(mixer).size_multiple is None
    resnet = {'type': 'TimmBackbone', 'model_name': 'resnet18', 'block': 2}
    assert MODELS.build(resnet).size_multiple == 8


def test_a_sequence_is_sampled_on_the_own_grid() -> None:
    decoder = TransformerDecoder(8, 6, (2, 3), channels=16, num_layers=1, num_heads=2).eval()
    slots = torch.randn(1, 2, 8)
    assert decoder(slots).masks.shape == (1, 2, 2, 3)
    assert decoder(slots, Target(torch.zeros(1, 8, 6), grid=(4, 2))).masks.shape == (1, 2, 4, 2)
