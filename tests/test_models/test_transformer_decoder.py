import pytest
import torch

from mmocl.models.decoders import TransformerDecoder
from mmocl.models.layers import PATCH_ORDERS, Attention, patch_order
from mmocl.structures import Target

SLOTS = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
IDS = torch.randint(7, (2, 12), generator=torch.Generator().manual_seed(1))
PATCHES = torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(2))


def _tokens(**changes) -> TransformerDecoder:
    arguments = {'vocab_size': 7, 'channels': 16, 'num_layers': 2, 'num_heads': 2}
    return TransformerDecoder(8, 7, (3, 4), **(arguments | changes)).eval()


def _patches(**changes) -> TransformerDecoder:
    return TransformerDecoder(8, 16, (3, 4), num_layers=2, num_heads=2, **changes).eval()


DECODERS = {
    'ids': (_tokens, IDS),
    'slate': (lambda: _tokens(blocks='slate'), IDS),
    'patches': (_patches, PATCHES),
    'width': (lambda: _patches(channels=24), PATCHES),
    'orders': (lambda: _patches(orders=PATCH_ORDERS, average_orders=True), PATCHES),
}


@pytest.mark.parametrize('kind', DECODERS)
def test_shapes_masks_and_order_of_slots(kind) -> None:
    make, values = DECODERS[kind]
    decoder = make()
    decoded = decoder(SLOTS, Target(values))
    assert decoded.recon.shape == (2, 12, 7 if decoder.shape == 'ids' else 16)
    assert decoded.masks.shape == (2, 4, 3, 4)
    torch.testing.assert_close(decoded.masks.sum(1), torch.ones(2, 3, 4))
    order = torch.tensor([3, 1, 0, 2])
    swapped = decoder(SLOTS[:, order], Target(values))
    torch.testing.assert_close(swapped.recon, decoded.recon)
    torch.testing.assert_close(swapped.masks, decoded.masks[:, order])


@pytest.mark.parametrize('kind', ['ids', 'slate', 'patches', 'width'])
def test_a_place_depends_on_those_before_it_only(kind) -> None:
    make, values = DECODERS[kind]
    decoder = make()
    changed = values.clone()
    changed[:, 5] = changed[:, 5] + 1 if values.is_floating_point() else (changed[:, 5] + 1) % 7
    before, after = (decoder(SLOTS, Target(v)).recon for v in (values, changed))
    torch.testing.assert_close(after[:, :6], before[:, :6])
    assert (after[:, 6:] - before[:, 6:]).abs().amax((0, 2)).min() > 1e-4


@pytest.mark.parametrize('kind', ['ids', 'slate', 'patches', 'width'])
def test_sampling_with_a_cache_is_teacher_forcing_on_its_own_samples(kind) -> None:
    decoder = DECODERS[kind][0]()
    sampled = decoder(SLOTS)
    fed = sampled.recon if decoder.shape == 'tokens' else sampled.recon.argmax(2)
    forced = decoder(SLOTS, Target(fed))
    torch.testing.assert_close(sampled.recon, forced.recon, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sampled.masks, forced.masks, atol=1e-5, rtol=1e-5)


def test_sampling_in_another_order_comes_back_in_rows() -> None:
    decoder = _patches(orders=['columns_right'])
    sampled = decoder(SLOTS)
    forced = decoder(SLOTS, Target(sampled.recon))
    torch.testing.assert_close(sampled.recon, forced.recon, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sampled.masks, forced.masks, atol=1e-5, rtol=1e-5)


def test_inactive_slots_are_as_if_they_were_not_there() -> None:
    decoder = _tokens()
    active = torch.tensor([[True, False, True, False]]).expand(2, -1)
    decoded = decoder(SLOTS, Target(IDS), active)
    fewer = decoder(SLOTS[:, ::2], Target(IDS))
    torch.testing.assert_close(decoded.recon, fewer.recon)
    torch.testing.assert_close(decoded.masks[:, ::2], fewer.masks)
    assert (decoded.masks[:, 1::2] == 0).all()
    torch.testing.assert_close(decoder(SLOTS, None, active).recon, decoder(SLOTS[:, ::2]).recon)


def test_weights_of_attention_are_those_of_the_fused_kernel() -> None:
    attention = Attention(16, 2).double()
    tokens, memory = torch.randn(2, 5, 16).double(), torch.randn(2, 4, 16).double()
    mask = torch.tensor([[True, True, False, True]]).expand(2, -1)
    keys, values = attention.look(memory)
    out, weights = attention.forward_with_weights(tokens, keys, values, mask)
    torch.testing.assert_close(out, attention(tokens, keys, values, mask=mask))
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 5).double())
    assert (weights[:, :, 2] == 0).all()


def test_training_draws_one_order_and_the_test_takes_the_first_or_all() -> None:
    decoder = _patches(orders=['rows', 'spiral'])
    torch.nn.init.normal_(decoder.embedding.bos)
    each = [_patches(orders=['rows']), _patches(orders=['spiral'])]
    for i, other in enumerate(each):
        state = decoder.state_dict()
        state['embedding.bos'] = state['embedding.bos'][i : i + 1]
        other.load_state_dict(state)
    rows, spiral = (other(SLOTS, Target(PATCHES)).recon for other in each)
    torch.testing.assert_close(decoder(SLOTS, Target(PATCHES)).recon, rows)
    decoder.average_orders = True
    torch.testing.assert_close(decoder(SLOTS, Target(PATCHES)).recon, (rows + spiral) / 2)
    decoder.train()
    drawn = [decoder(SLOTS, Target(PATCHES)).recon for _ in range(20)]
    found = [[torch.allclose(d, r, atol=1e-5) for d in drawn] for r in (rows, spiral)]
    assert all(a != b for a, b in zip(*found, strict=True))
    assert 0 < sum(found[0]) < 20


@pytest.mark.parametrize('name', PATCH_ORDERS)
def test_an_order_visits_every_patch_once(name) -> None:
    assert patch_order(name, (3, 5)).sort().values.tolist() == list(range(15))


def test_orders_start_where_their_names_say() -> None:
    assert patch_order('rows_bottom', (2, 3)).tolist() == [3, 4, 5, 0, 1, 2]
    assert patch_order('columns_right', (2, 3)).tolist() == [2, 5, 1, 4, 0, 3]
    assert patch_order('spiral', (3, 3)).tolist() == [4, 1, 0, 3, 6, 7, 8, 5, 2]


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="blocks must be 'dinosaur' or 'slate', got 'spot'"):
        _patches(blocks='spot')
    with pytest.raises(ValueError, match=r"got decoder.orders=\['spiral'\]"):
        _tokens(orders=['spiral'])
    with pytest.raises(ValueError, match=r"must be one of .* got 'zigzag'"):
        _patches(orders=['zigzag'])
    with pytest.raises(ValueError, match='active leaves an image without slots'):
        _tokens()(SLOTS, None, torch.zeros(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match='num_heads must divide channels 16, got 3'):
        _tokens(num_heads=3)
    with pytest.raises(ValueError, match=r'grid of \(3, 4\), 12 tokens, but the target has .*, 11'):
        _patches()(SLOTS, Target(PATCHES[:, 1:]))
