import pytest
import torch

from mmocl.models.slot_heads import SlotAttention
from mmocl.models.slot_heads.slot_update import SlotUpdate
from mmocl.structures import Features

FEATURES = Features(torch.randn(8, 36, 12, generator=torch.Generator().manual_seed(1)), (6, 6))


def _head(**options) -> SlotAttention:
    torch.manual_seed(0)
    return SlotAttention({'type': 'LearnedSlots', 'num_slots': 4}, 12, 16, **options)


def test_drop_path_skips_the_mlp_for_whole_images_in_training_only() -> None:
    update = SlotUpdate(16, 32, drop_path=0.5)
    inputs, slots = torch.randn(64, 4, 16), torch.randn(64, 4, 16)
    recurrent = update.gru(inputs.flatten(0, 1), slots.flatten(0, 1)).view_as(slots)
    residual = update.mlp(update.norm(recurrent))
    got = update(inputs, slots) - recurrent
    skipped = (got == 0).flatten(1).all(1)
    assert 10 < skipped.sum() < 54
    # The others are scaled, so that the mean stays.
    torch.testing.assert_close(got[~skipped], 2 * residual[~skipped], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(update.eval()(inputs, slots), recurrent + residual)


def test_slots_that_win_little_hardly_move_with_eps_on_the_sum() -> None:
    """With an eps far above the number of tokens the update is nearly zero values."""
    head = _head(num_iters=1, eps=1e6, eps_mode='sum')
    queries = head.initializer.queries.expand(8, -1, -1)
    want = head.update(torch.zeros_like(queries), queries)
    torch.testing.assert_close(head(FEATURES).slots, want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('num_heads', [0, 3])
def test_heads_divide_the_width(num_heads) -> None:
    with pytest.raises(ValueError, match=f'num_heads must divide slot_dim 16, got {num_heads}'):
        _head(num_heads=num_heads)


def test_unknown_place_of_eps() -> None:
    with pytest.raises(ValueError, match="eps_mode must be 'attn' or 'sum', got 'both'"):
        _head(eps_mode='both')


def test_embedded_tokens_of_another_width_than_slots() -> None:
    initializer = {'type': 'LearnedSlots', 'num_slots': 3}
    head = SlotAttention(initializer, 12, 16, embed_channels=24, embed_out_channels=20)
    assert head.embed[3].weight.shape == (20, 24)
    assert head.to_key.weight.shape == head.to_value.weight.shape == (16, 20)
    assert head(Features(torch.randn(2, 9, 12), (3, 3))).slots.shape == (2, 3, 16)
    with pytest.raises(ValueError, match=r'embed_out_channels=20 .* set embed_channels too'):
        SlotAttention(initializer, 12, 16, embed_out_channels=20)
