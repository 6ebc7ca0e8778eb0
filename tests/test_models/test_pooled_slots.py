import pytest
import torch

from mmocl.models.initializers import PooledSlots
from mmocl.structures import Features


def _features(grid=(4, 6), mask=None) -> Features:
    return Features(torch.randn(2, grid[0] * grid[1], 8), grid, mask)


def _pooled(init, features) -> torch.Tensor:
    """What the MLP sees: (B, C, p, p)."""
    seen = []
    handle = init.to_slots.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    init(features)
    handle.remove()
    return seen[0].unflatten(1, (8, init.pool_size, init.pool_size))


def test_tokens_are_averaged_where_they_stand() -> None:
    init = PooledSlots(3, 8, pool_size=2)
    features = _features()
    maps = features.tokens.view(2, 4, 6, 8)
    pooled = _pooled(init, features)
    for i in range(2):
        for j in range(2):
            want = maps[:, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3].mean(dim=(1, 2))
            torch.testing.assert_close(pooled[:, :, i, j], want)


def test_slots_depend_on_their_image_alone_and_differ() -> None:
    init = PooledSlots(3, 5, in_channels=8, pool_size=2)
    features = _features((3, 3))
    mean = init(features).mean
    assert mean.shape == (2, 3, 5)
    assert (mean[0] - mean[1]).abs().max() > 1e-3
    assert (mean[:, 0] - mean[:, 1]).abs().max() > 1e-3
    alone = init(Features(features.tokens[1:], (3, 3))).mean
    torch.testing.assert_close(alone, mean[1:])


def test_masked_tokens_are_not_averaged() -> None:
    init = PooledSlots(3, 8, pool_size=2)
    mask = torch.ones(2, 24, dtype=torch.bool)
    mask[1] = False
    mask[1, :2] = True
    features = _features(mask=mask)
    features.tokens[~mask] = torch.nan
    pooled = _pooled(init, features)
    torch.testing.assert_close(pooled[1, :, 0, 0], features.tokens[1, :2].mean(0))
    # Regions without a token.
    assert (pooled[1, :, 1] == 0).all()
    assert (pooled[1, :, :, 1] == 0).all()
    whole = Features(features.tokens[:1], (4, 6))
    torch.testing.assert_close(pooled[:1], _pooled(init, whole))


def test_a_mask_of_all_tokens_changes_nothing() -> None:
    init = PooledSlots(3, 8)
    features = _features((7, 5))
    masked = Features(features.tokens, (7, 5), torch.ones(2, 35, dtype=torch.bool))
    torch.testing.assert_close(init(masked).mean, init(features).mean)


def test_slots_are_float32_under_autocast() -> None:
    init = PooledSlots(3, 8)
    features = _features()
    with torch.autocast('cpu', torch.bfloat16):
        mean = init(features).mean
    assert mean.dtype == torch.float32
    torch.testing.assert_close(mean, init(features).mean, atol=1e-2, rtol=0)


def test_bad_input_is_refused() -> None:
    init = PooledSlots(3, 8)
    with pytest.raises(ValueError, match='has 3 slots of its own, so it cannot give 4'):
        init(_features(), num_slots=4)
    with pytest.raises(ValueError, match='cannot use the given noise'):
        init(_features(), noise=torch.zeros(2, 3, 8))
    with pytest.raises(ValueError, match='tokens of 6 channels, got 8; set in_channels'):
        PooledSlots(3, 8, in_channels=6)(_features())
    for key in ('pool_size', 'hidden_channels'):
        with pytest.raises(ValueError, match=f'{key} of PooledSlots must be at least 1, got 0'):
            PooledSlots(3, 8, **{key: 0})
