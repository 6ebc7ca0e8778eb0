"""Curves of a report page, and which images and models it is about: pure functions."""

import json
import math
from pathlib import Path

import pytest

from mmocl.visualization.report.content import Curve
from mmocl.visualization.report.curves import charts, merge, read_scalars, thinned
from mmocl.visualization.report.selection import choose
from mmocl.visualization.report.summary import model_line


def train_line(step: int, **values: float) -> dict:
    return {'iter': step, 'step': step, **values}


def write_lines(path: Path, lines: list[dict], end: str = '') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'{json.dumps(line)}\n' for line in lines) + end)
    return path


def test_the_later_start_of_a_resumed_run_counts() -> None:
    first = [train_line(step, loss=float(step)) for step in (10, 20, 30, 40)]
    first.insert(2, {'step': 20, 'ocl/ari': 0.5, 'time': 99.0})
    first.append({'step': 40, 'ocl/ari': 0.6})
    second = [train_line(step, loss=-float(step)) for step in (25, 35)]
    curves = merge([first, second])
    assert curves['loss'] == Curve('loss', [10, 20, 25, 35], [10.0, 20.0, -25.0, -35.0])
    assert curves['ocl/ari'] == Curve('ocl/ari', [20], [0.5])
    assert 'time' not in curves  # that of a validation is no time of an iteration


def test_values_that_are_not_finite_are_gaps(tmp_path) -> None:
    path = write_lines(
        tmp_path / 'scalars.json', [train_line(1, loss=math.nan), train_line(2, loss=1)]
    )
    assert merge([read_scalars(path)])['loss'].values == [None, 1.0]


def test_a_line_that_was_being_written_is_left_out(tmp_path) -> None:
    path = write_lines(tmp_path / 'scalars.json', [train_line(1, loss=1.0)], end='{"loss": 0.')
    assert len(read_scalars(path)) == 1


@pytest.mark.parametrize('line', ['{"loss": 0.5, "st', '[1, 2]', '{"loss": 1}', '{"step": "3"}'])
def test_a_broken_line_is_named(tmp_path, line) -> None:
    path = tmp_path / 'scalars.json'
    path.write_text(f'{json.dumps(train_line(1))}\n{line}\n{json.dumps(train_line(2))}\n')
    with pytest.raises(ValueError, match=r'scalars.json, line 2: expected') as error:
        read_scalars(path)
    assert line[:20] in str(error.value)


def test_charts_part_the_kinds_of_values() -> None:
    names = ['loss', 'loss_reconstruction', 'loss_covariance', 'lr', 'base_lr', 'grad_norm', 'time']
    names += ['ocl/fg_ari', 'ocl/attn_fg_ari', 'ocl/num_images', 'collapse_largest', 'mIoU']
    found = charts({name: Curve(name, [1], [float(i)]) for i, name in enumerate(names)})
    assert {chart.title: [curve.name for curve in chart.curves] for chart in found} == {
        'Losses': ['loss', 'loss_reconstruction', 'loss_covariance'],
        'Validation, ocl, decoder masks': ['ocl/fg_ari'],
        'Validation, ocl, attention masks': ['ocl/attn_fg_ari'],
        'Signs of collapse': ['collapse_largest'],
        'Learning rate': ['lr', 'base_lr'],
        'Norm of the gradient': ['grad_norm'],
        'Seconds an iteration': ['time'],
        'Other values': ['mIoU'],
    }
    same = {name: Curve(name, [1], [1.0]) for name in ('loss', 'loss_reconstruction')}
    assert [curve.name for curve in charts(same)[0].curves] == ['loss_reconstruction']


def test_long_curves_keep_their_extremes() -> None:
    values: list[float | None] = [0.0] * 10_000
    values[1234], values[4321], values[5000] = 9.0, -9.0, None
    curve = thinned(Curve('loss', list(range(10_000)), values), num_points=100)
    assert len(curve.steps) <= 101
    assert {1234: 9.0, 4321: -9.0}.items() <= dict(
        zip(curve.steps, curve.values, strict=True)
    ).items()
    assert curve.steps == sorted(curve.steps)


def test_worst_and_best_are_chosen_without_overlap() -> None:
    records = [{'a': value} for value in (0.5, None, 0.1, 0.9, 0.5, 0.7)]
    chosen = [(one.index, one.labels) for one in choose(6, 6, records, 'a')]
    assert chosen == [
        (2, ['worst 1']), (0, ['worst 2']), (3, ['best 1']), (5, ['best 2']), (1, []), (4, []),
    ]  # fmt: skip
    assert [one.index for one in choose(6, 20, records, 'a')] == [2, 0, 3, 5, 1, 4]
    assert [one.index for one in choose(4, 2, None, None)] == [0, 1]
    tied = choose(3, 3, [{'a': 0.5}, {'a': 0.5}, {'a': None}], 'a')
    assert [(one.index, one.labels) for one in tied] == [
        (0, ['worst 1']), (1, ['best 1']), (2, []),
    ]  # fmt: skip
    few = choose(3, 3, [{'a': None}, {'a': 0.3}, {'a': None}], 'a')
    assert [(one.index, one.labels) for one in few] == [(1, ['worst 1']), (0, []), (2, [])]


def test_models_of_other_kinds_have_a_line_too() -> None:
    assert model_line({'type': 'mmseg.EncoderDecoder'}) == 'EncoderDecoder'
    assert model_line({'type': 'A', 'slot_head': {'type': 'mmocl.B'}}) == 'A: B'
