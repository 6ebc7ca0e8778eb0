"""``python -m benchmarks``: everything runs, records are whole, measures measure."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import loader, record
from benchmarks.__main__ import main
from benchmarks.catalog import find_benchmarks
from benchmarks.measure import Setting, compare, matmul_peak
from benchmarks.products import count_flop, products_of
from benchmarks.report.aims import AIMS
from benchmarks.report.page import as_markdown
from benchmarks.saved_tensors import saved_by
from benchmarks.scaling import fit
from mmocl.models.slot_heads import SlotAttention
from mmocl.structures import Features

ROOT = Path(__file__).resolve().parents[1]
NAMES = list(find_benchmarks())
FIELDS = {
    'name', 'command', 'commit', 'device', 'hardware', 'versions', 'threads', 'repeats', 'seed',
    'tiny', 'rows',
}  # fmt: skip
TINY = Setting(tiny=True, repeats=1)


@pytest.fixture(scope='module')
def tiny_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of all benchmarks; in a process of its own, since beartype's hook cannot compile."""
    folder = tmp_path_factory.mktemp('benchmarks')
    command = [sys.executable, '-m', 'benchmarks', *NAMES, '--tiny', '--threads', '1']
    result = subprocess.run(
        [*command, '--json', str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return folder


@pytest.mark.parametrize('name', NAMES)
def test_every_benchmark_runs_and_leaves_a_whole_record(tiny_runs, name) -> None:
    found = json.loads((tiny_runs / f'{name}.json').read_text())
    assert found.keys() == FIELDS
    assert (found['name'], found['device'], found['threads'], found['seed']) == (name, 'cpu', 1, 0)
    # Where the result went is nobody's business.
    assert found['command'].endswith(f'python -m benchmarks {name} --tiny --threads 1')
    assert found['hardware']['processor']
    assert found['hardware']['cores'] >= 1
    assert found['hardware']['gpu'] is None
    assert torch.__version__.startswith(found['versions']['torch'])
    assert found['rows']
    for row in found['rows']:
        for key in row.keys() & {'faster', 'seconds', 'images_per_second'}:
            assert row[key]['min'] <= row[key]['median'] <= row[key]['max']
    # What cannot be seen is null, never a made-up number.
    compiled = [row for row in found['rows'] if row.get('form', '').endswith('compiled')]
    assert all(row['peak_bytes'] is None for row in compiled)
    assert as_markdown(found).count('\n') == len(found['rows']) + 2


def test_there_are_the_benchmarks_that_the_page_names() -> None:
    assert {
        'decoders', 'densities', 'density_precision', 'metrics', 'scaling', 'segmentation_heads',
        'slot_heads', 'train_step',
    } <= set(NAMES)  # fmt: skip
    readme = (ROOT / 'benchmarks/README.md').read_text()
    assert all(f'| `{name}` |' in readme for name in NAMES)
    assert {aim.benchmark for aim in AIMS} - {'loader', 'runner_overhead'} <= set(NAMES)


def test_aims_find_their_rows(tiny_runs) -> None:
    """The columns that aims name exist: only shapes differ in a tiny run."""
    sizes = {'B x K x N x D', 'backbone', 'decoder', 'type', 'data'}
    for aim in AIMS:
        if aim.device == 'cuda' or aim.benchmark not in NAMES:
            continue
        rows = json.loads((tiny_runs / f'{aim.benchmark}.json').read_text())['rows']
        where = {key: value for key, value in aim.where.items() if key not in sizes}
        found = [
            row
            for row in rows
            if all(row.get(k) in (v if isinstance(v, tuple) else (v,)) for k, v in where.items())
        ]
        assert found, aim
        assert all(aim.column in row for row in found), aim


def test_the_loader_takes_a_few_images_of_a_real_data_set(tmp_path, monkeypatch) -> None:
    loader.generate(tmp_path / 'coco', 4, (40, 60))
    monkeypatch.setenv('MMOCL_DATA', str(tmp_path))
    monkeypatch.setattr(loader, 'MOST_IMAGES', 3)
    monkeypatch.setattr(loader, 'compare', lambda calls, *_, images, **__: [{'counted': images}])
    assert loader.run(Setting()) == [{'counted': 3, 'images': 3, 'data': 'COCO'}]


def test_no_name_lists_all(capsys) -> None:
    main([])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*NAMES, 'report']
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (['nothing'], 'unknown benchmark nothing; there are decoders, '),
        (['metrics', '--repeats', '0'], '--repeats must be at least 1, got 0'),
        (['metrics', '--tiny', '--keep'], '--keep is for results; those of --tiny mean nothing'),
        (['metrics', 'scaling', '--json', 'a.json'], '--json must be a folder for several'),
        (['metrics', '--device', 'cuda'], '--device cuda needs a GPU, and PyTorch sees none'),
    ],
)
def test_bad_arguments_give_one_clear_line(argv, message, capsys, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(SystemExit):
        main(argv)
    assert message in capsys.readouterr().err


def test_compare_takes_ratios_within_a_turn() -> None:
    x = torch.ones(1000)
    calls = {
        'slow': lambda: (time.sleep(0.02), x + 1, x + 2)[0],
        'fast': lambda: (time.sleep(0.005), x + 1)[0],
    }
    slow, fast = compare(calls, Setting(repeats=3), 'slow', images=2)
    assert slow['faster'] == {'median': 1, 'min': 1, 'max': 1}
    assert 2 < fast['faster']['median'] < 6
    assert fast['seconds']['min'] >= 0.005
    assert fast['images_per_second']['max'] <= 400
    assert (slow['peak_bytes'], fast['peak_bytes']) == (8000, 4000)
    assert fast['less_memory'] == 2
    assert fast['flop'] == 0
    assert fast['fewer_flop'] is None
    with pytest.raises(ValueError, match=r"reference must be one of \['slow', 'fast'\], got 'x'"):
        compare(calls, TINY, 'x')
    assert matmul_peak(TINY) > 0


def test_all_products_are_counted_and_run_again() -> None:
    a, b = torch.randn(2, 3, 4, requires_grad=True), torch.randn(2, 4, 5)
    product = 2 * 2 * 3 * 4 * 5
    assert count_flop(lambda: a @ b) == product
    assert count_flop(lambda: torch.autograd.grad((a @ b).sum(), a)) == 2 * product
    out = torch.zeros(2, 3, 5)
    assert count_flop(lambda: out.baddbmm_(a.detach(), b)) == product
    again = products_of(lambda: ((a @ b).exp(), a.expand(4, 2, 3, 4).square().sum()))
    assert count_flop(again) == product


def test_saved_by_iterations_leaves_out_what_all_look_at() -> None:
    tokens = torch.randn(2, 64, 16, requires_grad=True)
    saved = {}
    for gradient in ('unrolled', 'bilevel'):
        initializer = {'type': 'GaussianSlots', 'num_slots': 3}
        head = SlotAttention(initializer, 16, num_iters=3, gradient=gradient)
        saved[gradient] = saved_by(head, Features(tokens, (8, 8)))
        assert 'step' not in vars(head)
    assert saved['unrolled'].by_iterations == pytest.approx(3 * saved['bilevel'].by_iterations, 0.1)
    assert saved['bilevel'].by_iterations < saved['bilevel'].whole - 2 * 64 * 16 * 4
    assert saved['unrolled'].whole > saved['bilevel'].whole


def test_fit_finds_the_exponent() -> None:
    assert fit([1, 2, 4], [3, 12, 48]) == pytest.approx((2, 1))
    exponent, r2 = fit([1, 2, 4, 8], [1, 2, 2, 4])
    assert exponent < 1
    assert r2 < 1


def test_a_commit_is_dirty_by_code_and_not_by_results(tmp_path, monkeypatch) -> None:
    def git(*words: str) -> None:
        name = ['-c', 'user.name=a', '-c', 'user.email=a@b.c']
        subprocess.run(['git', *name, *words], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / 'benchmarks/results').mkdir(parents=True)
    code, result = tmp_path / 'code.py', tmp_path / 'benchmarks/results/a.json'
    code.write_text('')
    result.write_text('')
    git('init')
    git('add', '.')
    git('commit', '-m', 'first')
    monkeypatch.setattr(record, 'ROOT', tmp_path)
    result.write_text('1')
    assert len(record.current_commit()) == 7
    code.write_text('1')
    assert record.current_commit().endswith('-dirty')
