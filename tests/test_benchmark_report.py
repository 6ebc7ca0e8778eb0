"""``python -m benchmarks report``: the page is what the kept results give, and no more."""

import json
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.columns import cell, number
from benchmarks.record import read_kept
from benchmarks.report.aims import Aim, aims_table, worst
from benchmarks.report.page import build_page
from benchmarks.report.plots import build_plots, is_plot_of

ROOT = Path(__file__).resolve().parents[1]


def test_numbers_keep_three_digits() -> None:
    assert [number(x) for x in (7, 1.5, 0.0123456, 1234.5, 2e-7)] == [
        '7', '1.50', '0.0123', '1,234', '2e-07',
    ]  # fmt: skip
    assert cell({'median': 2.0, 'min': 1.5, 'max': 3.0}) == '2 (1.50 to 3)'
    assert cell(None) == 'null'


def made_up(device: str = 'cpu') -> dict:
    """A record as a run leaves it."""
    spread = {'median': 2.0, 'min': 1.5, 'max': 2.5}
    case = {'part': 'against PyPI', 'form': 'SlotAttention'}
    return {
        'name': 'slot_heads', 'command': 'python -m benchmarks slot_heads', 'commit': 'abc1234',
        'device': device, 'hardware': {'processor': 'Some CPU', 'cores': 2, 'gpu': None},
        'versions': {'torch': '2.15.0', 'timm': None}, 'threads': 2, 'repeats': 5, 'seed': 0,
        'tiny': False,
        'rows': [
            {**case, 'faster': spread, 'less_memory': 0.9, 'seconds': spread, 'peak_bytes': None},
        ],
    }  # fmt: skip


def test_a_kept_result_becomes_a_section_a_picture_and_an_aim(tmp_path) -> None:
    folder = tmp_path / 'cpu-some-2c'
    folder.mkdir()
    (folder / 'slot_heads.json').write_text(json.dumps(made_up()))
    results = read_kept(tmp_path)
    plots = build_plots(results)
    page = build_page(results, plots)
    assert '| against PyPI | SlotAttention | 2 (1.50 to 2.50) | 0.900 | 2,000 | null |' in page
    assert 'Some CPU (2 cores), 2 threads; 5 repeats; seed 0; commit abc1234; torch 2.15.0.' in page
    assert '| >= 1.6x | 2 (1.50 to 2.50) | cpu-some-2c | yes |' in page
    assert 'PyPI: memory | >= 1x | 0.900 | cpu-some-2c | no |' in page
    assert '| >= 40% | null | GPU | null |' in page
    assert 'Not measured yet: `python -m benchmarks scaling --keep`.' in page
    (name,) = plots
    assert f'](performance/{name})' in page
    assert plots == build_plots(results), 'pictures must not change from run to run'
    results['cpu-some-2c']['slot_heads']['rows'][0]['faster']['median'] = 2.1
    assert not is_plot_of(plots[name].svg, build_plots(results)[name])


def test_the_worst_row_counts_and_a_missing_one_leaves_null() -> None:
    rows = [{'form': 'a', 'x': 4.0}, {'form': 'b', 'x': 2.0}, {'form': 'c', 'x': None}]
    at_least = Aim('', 'n', {'form': ('a', 'b')}, 'x', at_least=3.0)
    assert worst(at_least, rows) == {'median': 2, 'min': 2, 'max': 2}
    assert worst(Aim('', 'n', {'form': ('a', 'b')}, 'x', at_most=0.3), rows)['median'] == 0.5
    assert worst(Aim('', 'n', {'form': ('a', 'c')}, 'x'), rows) is None
    assert worst(Aim('', 'n', {'form': 'd'}, 'x'), rows) is None
    on_gpu = {'gpu': {'slot_heads': made_up('cuda')}}
    assert '| null | CPU | null |' in aims_table(on_gpu), 'an aim for a CPU needs one'


@pytest.mark.parametrize('change', [{'tiny': True}, {'name': 'other'}])
def test_a_tiny_or_misplaced_result_is_refused(tmp_path, change) -> None:
    (tmp_path / 'cpu').mkdir()
    (tmp_path / 'cpu' / 'slot_heads.json').write_text(json.dumps(made_up() | change))
    with pytest.raises(ValueError, match='must be a full run of slot_heads, got one of'):
        read_kept(tmp_path)


def test_the_page_is_what_the_kept_results_give(tmp_path, monkeypatch, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        report.main(['--check'])
    assert end.value.code == 0, capsys.readouterr().out
    # The same command writes what is missing, and then agrees.
    monkeypatch.setattr(report, 'ROOT', tmp_path)
    with pytest.raises(SystemExit) as end:
        report.main(['--check'])
    assert end.value.code == 1
    report.main([])
    assert (tmp_path / 'docs/performance.md').read_text() == (
        ROOT / 'docs/performance.md'
    ).read_text()
