import os
import socket
import subprocess
import sys
import warnings
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch

from mmocl.models.initializers import BufferSlots
from mmocl.models.initializers.buffer_slots import find_centres, match
from mmocl.models.slot_heads import SlotMixture
from mmocl.registry import MODELS
from mmocl.structures import Features

ROOT = Path(__file__).resolve().parents[2]
CORNERS = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


def _buffer(slots: torch.Tensor, **arguments) -> BufferSlots:
    init = BufferSlots(*slots.shape, **arguments)
    init.slots.copy_(slots)
    return init


def _shuffled_corners(batch: int = 16) -> torch.Tensor:
    """Slots near the corners, in another order in every image."""
    order = torch.stack([torch.randperm(4) for _ in range(batch)])
    return CORNERS[order] + 0.1 * torch.randn(batch, 4, 2)


def test_all_images_start_from_the_buffer() -> None:
    init = BufferSlots(num_slots=64, slot_dim=256)
    # Xavier-normal of a table of K rows and D columns.
    assert init.slots.std().item() == pytest.approx((2 / 320) ** 0.5, rel=0.05)
    state = init(Features(torch.zeros(3, 9, 4), (3, 3)))
    torch.testing.assert_close(state.mean, init.slots.expand(3, -1, -1), atol=0, rtol=0)
    assert not list(init.parameters())
    assert not state.mean.requires_grad
    assert list(init.state_dict()) == ['slots']


@pytest.mark.parametrize('momentum', [0.1, 1.0])
def test_mean_is_taken_slot_by_slot(momentum) -> None:
    start = torch.randn(4, 2)
    init = _buffer(start, momentum=momentum)
    slots = torch.randn(5, 4, 2)
    init.observe(slots)
    expected = momentum * slots.mean(0) + (1 - momentum) * start
    torch.testing.assert_close(init.slots[0], expected)


def test_kmeans_finds_the_clusters_and_keeps_the_order_of_the_buffer() -> None:
    slots = _shuffled_corners()
    nearest = torch.cdist(slots.flatten(0, 1), CORNERS).argmin(dim=1)
    means = torch.stack([slots.flatten(0, 1)[nearest == k].mean(dim=0) for k in range(4)])
    for order in permutations(range(4)):
        start = CORNERS[list(order)] + torch.randn(4, 2)
        init = _buffer(start, update='kmeans', momentum=0.3)
        init.observe(slots)
        expected = 0.3 * means[list(order)] + 0.7 * start
        torch.testing.assert_close(init.slots[0], expected, atol=1e-5, rtol=1e-5)


def test_without_alignment_centres_come_in_the_order_of_kmeans() -> None:
    slots = _shuffled_corners()
    results = []
    for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
        init = _buffer(CORNERS[order], update='kmeans', momentum=1.0, align=False)
        init.observe(slots)
        results.append(init.slots[0])
    # Whatever the buffer holds.
    torch.testing.assert_close(*results)
    aligned = match(results[0].numpy(), CORNERS.numpy())
    np.testing.assert_allclose(aligned, CORNERS.numpy(), atol=0.2)


def test_matching_minimises_the_sum_and_not_every_distance() -> None:
    # Both targets are nearest to centre 0; giving it to the first leaves the second 100 away.
    targets, centres = np.array([[0.0], [1.0]]), np.array([[0.5], [-9.0]])
    np.testing.assert_array_equal(match(centres, targets), [[-9.0], [0.5]])


def test_kmeans_is_repeatable_and_depends_on_its_seed() -> None:
    points = np.random.default_rng(0).normal(size=(40, 2))
    first, again, other = (find_centres(points, 6, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_fewer_different_slots_than_clusters_do_no_harm() -> None:
    slots = CORNERS[[0, 3, 0, 3]][None].repeat(2, 1, 1)
    init = _buffer(CORNERS, update='kmeans', momentum=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        init.observe(slots)
        torch.testing.assert_close(init.slots[0].unique(dim=0), CORNERS[[0, 3]])
        init.observe(torch.ones(1, 4, 2))
    torch.testing.assert_close(init.slots, torch.ones(1, 4, 2))


@pytest.mark.parametrize('update', ['mean', 'kmeans'])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_nan_does_not_enter_the_buffer(update, value) -> None:
    init = _buffer(CORNERS, update=update)
    slots = torch.randn(3, 4, 2)
    slots[1, 2, 0] = value
    with pytest.raises(ValueError, match='NaN or infinite'):
        init.observe(slots)
    torch.testing.assert_close(init.slots[0], CORNERS)


def test_what_it_cannot_do_is_refused() -> None:
    init = _buffer(CORNERS)
    features = Features(torch.zeros(3, 9, 4), (3, 3))
    with pytest.raises(ValueError, match='cannot use the given noise'):
        init(features, noise=torch.zeros(3, 4, 2))
    with pytest.raises(ValueError, match='has 4 slots of its own, so it cannot give 5'):
        init(features, num_slots=5)
    with pytest.raises(ValueError, match=r'in \(0, 1\], got 0'):
        BufferSlots(4, 2, momentum=0.0)
    with pytest.raises(ValueError, match="got 'median'"):
        BufferSlots(4, 2, update='median')


@pytest.mark.parametrize('gradient', ['unrolled', 'implicit', 'bilevel'])
def test_a_head_moves_the_buffer_in_training_only(gradient) -> None:
    head = MODELS.build(
        {
            'type': 'SlotAttention',
            'in_channels': 8,
            'gradient': gradient,
            'initializer': {'type': 'BufferSlots', 'num_slots': 3, 'momentum': 0.25},
        }
    )
    features = Features(torch.randn(2, 9, 8), (3, 3))
    start = head.initializer.slots.clone()
    head.eval()(features)
    torch.testing.assert_close(head.initializer.slots, start)
    output = head.train()(features)
    expected = 0.75 * start + 0.25 * output.slots.detach().mean(dim=0, keepdim=True)
    torch.testing.assert_close(head.initializer.slots, expected)
    # The start of this step is still what it was, for the backward pass and for losses.
    torch.testing.assert_close(output.init.mean, start.expand(2, -1, -1))
    output.slots.sum().backward()
    assert not head.initializer.slots.requires_grad


SCRIPT = """
import sys
import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from torch.nn.parallel import DistributedDataParallel
from mmocl.engine.cpu_processes import cpu_processes
from mmocl.models.initializers import BufferSlots
from mmocl.models.slot_heads import SlotAttention
from mmocl.structures import Features

with cpu_processes(Config({'launcher': 'pytorch'})):
    data = torch.load(sys.argv[1])
    # Batches of different sizes.
    mine = data['slots'][:6] if get_rank() == 0 else data['slots'][6:]
    results = {}
    for update in ('mean', 'kmeans'):
        init = BufferSlots(4, 2, update=update)
        init.slots.copy_(data['start'])
        init.observe(mine)
        results[update] = init.slots.clone()
        bad = mine.clone()
        if get_rank() == 1:
            bad[0, 0, 0] = float('nan')
        try:
            init.observe(bad)
        except ValueError:
            results[update + '_refused'] = torch.equal(init.slots, results[update])
        torch.manual_seed(0)
        init = BufferSlots(4, 8, update=update, momentum=0.5)
        model = DistributedDataParallel(SlotAttention(init, 8), broadcast_buffers=False)
        before = init.slots.clone()
        torch.manual_seed(1 + get_rank())
        for _ in range(2):
            model(Features(torch.randn(2, 9, 8), (3, 3))).slots.sum().backward()
        assert not torch.equal(init.slots, before)
        results['ddp_' + update] = init.slots.clone()
    torch.save(results, sys.argv[1] + str(get_rank()))
"""


def test_two_processes_move_their_buffers_as_one(tmp_path) -> None:
    slots, start = _shuffled_corners(), CORNERS[[2, 0, 3, 1]] + torch.randn(4, 2)
    file = str(tmp_path / 'data')
    torch.save({'slots': slots, 'start': start}, file)
    (tmp_path / 'two.py').write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    result = subprocess.run(
        [
            sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2',
            '--master_addr=127.0.0.1', f'--master_port={port}', str(tmp_path / 'two.py'), file,
        ],
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1',
             'CUDA_VISIBLE_DEVICES': ''},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    ranks = [torch.load(file + str(rank)) for rank in (0, 1)]
    for key, value in ranks[0].items():
        torch.testing.assert_close(ranks[1][key], value, atol=0, rtol=0, msg=key)
    for update in ('mean', 'kmeans'):
        assert ranks[0][f'{update}_refused']
        alone = _buffer(start, update=update)
        alone.observe(slots)
        torch.testing.assert_close(ranks[0][update], alone.slots)


@pytest.mark.parametrize('update', ['mean', 'kmeans'])
def test_slots_that_take_no_part_are_left_out(update) -> None:
    init = BufferSlots(num_slots=2, slot_dim=3, update=update, momentum=1.0)
    start = init.slots.clone()
    slots = torch.randn(4, 2, 3)
    active = torch.tensor([[True, True], [True, False], [True, False], [True, True]])
    slots[~active] = 1e6
    init.observe(slots, active)
    assert init.slots.abs().max() < 100
    if update == 'mean':
        torch.testing.assert_close(init.slots[0, 0], slots[:, 0].mean(0))
        torch.testing.assert_close(init.slots[0, 1], slots[[0, 3], 1].mean(0))
        fresh = BufferSlots(num_slots=2, slot_dim=3, momentum=1.0)
        start = fresh.slots.clone()
        fresh.observe(slots, torch.tensor([[True, False]] * 4))
        assert torch.equal(fresh.slots[0, 1], start[0, 1])


def test_the_buffer_follows_means_where_slots_are_something_else() -> None:
    init = BufferSlots(num_slots=2, slot_dim=8, momentum=1.0)
    head = SlotMixture(init, 8)
    output = head(Features(torch.randn(4, 16, 8), (4, 4)))
    torch.testing.assert_close(init.slots[0], output.state.mean.mean(0))
