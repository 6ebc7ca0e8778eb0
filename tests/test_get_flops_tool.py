"""``tools/get_flops.py`` as a user calls it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch.utils.flop_counter import FlopCounterMode

from mmocl.models.slot_heads import ProbabilisticSlotAttention
from mmocl.registry import MODELS
from mmocl.structures import Features
from tools.get_flops import _count

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/psa/psa_conv_sprites.py'
PRUNE = 'model.slot_head.prune_threshold=0.2'
LEARNED = 'model.slot_head.initializer.type=LearnedSlots'


def get_flops(*args: str, config: str = CONFIG) -> str:
    """Run the tool in the repository and return what it printed."""
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, 'tools/get_flops.py', config, *args]
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


def stages(log: str) -> dict[str, tuple[float, int]]:
    """GFLOPs and parameters by stage."""
    names = 'tokenizer|backbone|slot_head|decoder|total'
    rows = re.findall(rf'^({names}) +([\d.]+) +([\d,]+)$', log, re.M)
    return {name: (float(flops), int(count.replace(',', ''))) for name, flops, count in rows}


def number(pattern: str, log: str) -> float:
    found = re.search(pattern, log)
    assert found, log
    return float(found.group(1))


def test_a_table_of_stages() -> None:
    # Learned queries are parameters, which the counter must not take for something to train.
    log = get_flops('--num-images', '2', '--cfg-options', LEARNED)
    table = stages(log)
    assert list(table) == ['backbone', 'slot_head', 'decoder', 'total']
    cfg = Config.fromfile(ROOT / CONFIG)
    cfg.model.slot_head.initializer.type = 'LearnedSlots'
    model = MODELS.build(cfg.model)
    for name in ('backbone', 'slot_head', 'decoder'):
        count = sum(p.numel() for p in getattr(model, name).parameters())
        assert table[name][1] == count > 0
    assert table['total'][1] == sum(p.numel() for p in model.parameters())
    # A slot: 5x5 from 32 to 24 channels at 8x8, 24 to 24 at 16x16, 3x3 to 4 at 32x32; the position.
    slot = 64 * 25 * 32 * 24 + 256 * 25 * 24 * 24 + 1024 * 9 * 24 * 4
    assert table['decoder'][0] == pytest.approx(2 * (5 * slot + 64 * 4 * 32) / 1e9, abs=1e-4)
    assert table['total'][0] == pytest.approx(sum(table[k][0] for k in list(table)[:3]), abs=3e-4)
    assert 'saving' not in log


@pytest.mark.parametrize(
    ('config', 'names'),
    [
        (
            'configs/smm/slot_attention_set_prediction_sprites.py',
            ['backbone', 'slot_head', 'decoder'],
        ),
        ('configs/slate/slate_sprites.py', ['tokenizer', 'backbone', 'slot_head', 'decoder']),
    ],
)
def test_models_with_other_parts_are_counted(config, names) -> None:
    table = stages(get_flops('--num-images', '1', config=config))
    assert list(table) == [*names, 'total']
    assert table['slot_head'][0] > 0
    model = MODELS.build(Config.fromfile(ROOT / config).model)
    assert table['total'][1] == sum(p.numel() for p in model.parameters())
    assert table['total'][1] == sum(table[name][1] for name in names)


def test_pruning_saves_decoder_flops_in_proportion(tmp_path) -> None:
    model = MODELS.build(Config.fromfile(ROOT / CONFIG).model)
    checkpoint = tmp_path / 'model.pth'
    torch.save({'state_dict': model.state_dict()}, checkpoint)
    for args in ((), (str(checkpoint),)):
        log = get_flops(*args, '--num-images', '4', '--cfg-options', PRUNE)
        assert 'over 4 test images' in log
        pruned = number(r'decoder with pruning +([\d.]+)', log)
        dense = number(r'decoder without pruning +([\d.]+)', log)
        saving = number(r'saving ([\d.]+) %', log)
        active = number(r'active slots ([\d.]+) of 5', log)
        assert stages(log)['decoder'][0] == pruned < dense
        assert 1 <= active < 5
        assert saving == pytest.approx(100 * (1 - active / 5), abs=0.2)
        # One image decodes a whole number of slots.
        most = number(r'up to ([\d.]+) %', log)
        assert saving - 0.2 <= most
        assert most == pytest.approx(20 * round(most / 20), abs=0.2)
        assert ('No checkpoint' in log) == (not args)


def test_a_checkpoint_of_another_model_is_refused(tmp_path) -> None:
    torch.save({'state_dict': {'w': torch.zeros(1)}}, tmp_path / 'model.pth')
    with pytest.raises(AssertionError, match=r'does not fit the model of .*psa_conv_sprites'):
        get_flops(str(tmp_path / 'model.pth'), '--num-images', '1')


def test_products_in_place_are_counted() -> None:
    """Those of the densities are; each has an E-step's two products of tokens and Gaussians."""
    head = ProbabilisticSlotAttention({'type': 'LearnedSlots', 'num_slots': 3}, 8, num_iters=1)
    features = Features(torch.randn(1, 16, 8), (4, 4))
    total, _ = _count(lambda: head(features))
    with FlopCounterMode(display=False) as counter:
        head(features)
    # Rows of Gaussians are filled up to four; the M-step's two products have no such rows.
    assert total - counter.get_total_flops() == 2 * (2 * 4 * 16 * 8) + 2 * (2 * 3 * 16 * 8)
