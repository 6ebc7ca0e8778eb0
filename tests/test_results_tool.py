"""``tools/results.py``: results of runs to metafiles, metafiles to tables."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tools.demo import headline_of, protocols_of
from tools.model_zoo import PAGE
from tools.provenance import command_of
from tools.result_tables import changed_readmes, columns, render, with_tables
from tools.results import changed_pages, dump, record_runs

ROOT = Path(__file__).resolve().parents[1]
METAFILES = sorted(ROOT.glob('configs/*/metafile.yml'))
METAFILE = """\
Collections:
  - Name: Some Method
    README: configs/some/README.md
Models:
  - Name: first
    In Collection: Some Method
    Config: configs/some/first.py
    Results: null
  - Name: first, by hand
    In Collection: Some Method
    Config: configs/some/first.py
    Metadata:
      Command: configs/some/README.md
      Commit: abc1234 (seed 0 at 1234567)
      Hardware: two cores
      Steps: 1500
      Data: a few images
      Protocol: spot320 v1
    Results:
      - {Task: Object Discovery, Dataset: a few images, Seed: 0, Metrics: {coco_mbo_i: 0.140}}
"""
README = """\
# Some method
<!-- results: begin -->
old
<!-- results: end -->
by hand: 0.1
"""


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / 'configs' / 'some'
    folder.mkdir(parents=True)
    (folder / 'metafile.yml').write_text(METAFILE)
    (folder / 'README.md').write_text(README)
    return tmp_path


def run_folder(root: Path, seed: int, **changes: object) -> Path:
    """A folder as ``tools/demo.py`` leaves it."""
    metrics = {
        'config': 'configs/some/first.py',
        'command': 'python tools/demo.py --config configs/some/first.py',
        'commit': 'abc1234',
        'hardware': 'a processor, 1 thread',
        'data': {
            'type': 'Sprites', 'data_root': '/home/me/data', 'size': 32, 'shift': 0.25,
            'test_mode': True, 'pipeline': [{'type': 'Pack'}],
        },
        'protocol': 'square128, spot320',
        'protocol_version': '1, 2',
        'seed': seed,
        'steps': 1500,
        'train_seconds': 3.1,
        'headline': 'ocl_fg_ari',
        'ocl_fg_ari': 0.81449 + seed / 100,
        'ocl_fg_ari_multi': 0.8,
        'ocl_mbo_c': 0.2,
        'ocl_corloc': 0.2,
        'ocl_attn_recall': 0.2,
        'ocl_mbo_i': 0.1,
        'ocl_attn_fg_ari': None,
        'ocl_num_images_mbo': 320.0,
        'set_ap_inf': 1.0,
        'set_num_objects': 7.0,
        'untrained_ocl_fg_ari': 0.01,
        'untrained_ocl_fg_ari_multi': 0.01,
        'untrained_ocl_mbo_i': 0.0249,
        'untrained_ocl_attn_fg_ari': None,
        'untrained_ocl_num_images_mbo': 320.0,
        **changes,
    }  # fmt: skip
    folder = root / f'run-{seed}'
    folder.mkdir(exist_ok=True)
    (folder / 'metrics.json').write_text(json.dumps(metrics))
    return folder


def models_of(root: Path) -> list[dict]:
    return yaml.safe_load((root / 'configs/some/metafile.yml').read_text())['Models']


def test_runs_become_an_entry_in_its_place(root) -> None:
    path = record_runs(root, [run_folder(root, 1), run_folder(root, 0)])
    models = models_of(root)
    assert list(models[0]) == ['Name', 'In Collection', 'Config', 'Metadata', 'Results']
    assert models[0] == {
        'Name': 'first',
        'In Collection': 'Some Method',
        'Config': 'configs/some/first.py',
        'Metadata': {
            'Command': 'python tools/demo.py --config configs/some/first.py',
            'Commit': 'abc1234',
            'Hardware': 'a processor, 1 thread',
            'Steps': 1500,
            'Data': 'Sprites, size 32, shift 0.25',
            'Protocol': 'square128 v1, spot320 v2',
        },
        'Results': [
            {
                'Task': 'Object Discovery',
                'Dataset': 'Sprites',
                'Seed': seed,
                'Metrics': {
                    'fg_ari': value, 'mbo_i': 0.1, 'attn_fg_ari': None,
                    'set_ap_inf': 1.0, 'untrained_fg_ari': 0.01, 'untrained_mbo_i': 0.025,
                    'untrained_attn_fg_ari': None,
                },
            }
            for seed, value in ((0, 0.814), (1, 0.824))
        ],
    }  # fmt: skip
    assert list(models[0]['Results'][0]['Metrics'])[:3] == ['fg_ari', 'mbo_i', 'attn_fg_ari']
    # What stands there by hand stays as it was, to the letter.
    assert METAFILE[METAFILE.index('  - Name: first, by hand') :] in path.read_text()
    text = path.read_text()
    record_runs(root, [run_folder(root, 1), run_folder(root, 0)])
    assert path.read_text() == text


def test_a_new_config_is_the_last_entry(root) -> None:
    record_runs(root, [run_folder(root, 0, config='configs/some/second.py')])
    models = models_of(root)
    assert [m['Name'] for m in models] == ['first', 'first, by hand', 'second']
    assert models[2]['In Collection'] == 'Some Method'


def test_a_small_negative_value_is_no_minus_zero(root) -> None:
    path = record_runs(root, [run_folder(root, 0, ocl_fg_ari=-0.0004)])
    assert '{fg_ari: 0.000,' in path.read_text()


def test_commits_of_single_seeds_are_named(root) -> None:
    runs = [run_folder(root, 0), run_folder(root, 1, commit=None), run_folder(root, 2)]
    record_runs(root, runs)
    assert models_of(root)[0]['Metadata']['Commit'] == 'abc1234 (seed 0, 2), unknown (seed 1)'


@pytest.mark.parametrize('commit', ['1234567', '12345e7', '0123456'])
def test_a_commit_stays_a_string(root, commit) -> None:
    record_runs(root, [run_folder(root, 0, commit=commit)])
    assert models_of(root)[0]['Metadata']['Commit'] == commit


def test_runs_that_do_not_belong_together_are_refused(root) -> None:
    with pytest.raises(ValueError, match=r"agree in 'steps', got by seed \{0: 1500, 1: 3\}"):
        record_runs(root, [run_folder(root, 0), run_folder(root, 1, steps=3)])
    with pytest.raises(ValueError, match=r'one run a seed, got seeds \[0, 0\]'):
        record_runs(root, [run_folder(root, 0)] * 2)
    with pytest.raises(ValueError, match=r'configs/other/first\.py needs metafile\.yml'):
        record_runs(root, [run_folder(root, 0, config='configs/other/first.py')])
    path = run_folder(root, 0) / 'metrics.json'
    path.write_text(json.dumps({'seed': 0}))
    with pytest.raises(ValueError, match=r"lacks \['config', 'command', .* run tools/demo\.py"):
        record_runs(root, [path.parent])
    assert (root / 'configs/some/metafile.yml').read_text() == METAFILE


def test_tables_stand_between_the_markers(root) -> None:
    record_runs(root, [run_folder(root, 1), run_folder(root, 0)])
    ((path, text),) = changed_readmes(root).items()
    assert (
        text
        == """\
# Some method
<!-- results: begin -->

| config | FG-ARI | FG-ARI, attention | mBO_i | AP, any distance |
|---|---|---|---|---|
| `first.py` | 0.814, 0.824 | - | 0.100, 0.100 | 1.000, 1.000 |
| `first.py`, untrained | 0.010, 0.010 | - | 0.025, 0.025 | - |

| config | `coco_mbo_i` |
|---|---|
| first, by hand | 0.140 |

`first.py`: seeds 0, 1; 1,500 steps; Sprites, size 32, shift 0.25; \
protocol square128 v1, spot320 v2; \
commit abc1234; a processor, 1 thread.

```bash
python tools/demo.py --config configs/some/first.py
```

first, by hand: seed 0; 1,500 steps; a few images; protocol spot320 v1; \
commit abc1234 (seed 0 at 1234567); two cores.
The commands are in `configs/some/README.md`.

<!-- results: end -->
by hand: 0.1
"""
    )
    path.write_text(text)
    assert not changed_readmes(root)


def test_configs_of_a_series_share_their_command(root) -> None:
    for name in ('first', 'second'):
        config = f'configs/some/{name}.py'
        record_runs(root, [run_folder(root, 0, config=config, command=f'train {config}')])
    text = render(models_of(root))
    assert '`first.py`, `second.py`: seed 0;' in text
    assert text.count('```bash\ntrain CONFIG\n```') == 1


def test_configs_that_were_not_run_are_named(root) -> None:
    (path,) = changed_readmes(root)
    assert 'Not run: `first.py`.\n' in changed_readmes(root)[path]


def test_other_folders_can_be_shown(root) -> None:
    shutil.copytree(root / 'configs/some', root / 'configs/other')
    record_runs(root, [run_folder(root, 0, config='configs/some/second.py')])
    text = README.replace('begin', 'begin some')
    shown = with_tables(text, root / 'configs/other')
    assert '<!-- results: begin some -->\n' in shown
    assert '| `second.py` | 0.814' in shown


def test_a_lonely_marker_is_refused(root) -> None:
    with pytest.raises(ValueError, match=r'some/README\.md has a results marker without its'):
        with_tables(README.replace('<!-- results: end -->\n', ''), root / 'configs/some')


def test_columns_have_one_order() -> None:
    row = {'seed': 0, 'untrained_fg_ari': 0, 'odd': 0, 'attn_mbo_i': 0, 'mbo_i': 0, 'fg_ari': 0}
    wanted = ['fg_ari', 'mbo_i', 'attn_mbo_i', 'odd']
    assert columns([{'Results': [row]}]) == wanted
    names = ['ari', 'fg_attn_dice', 'fg_attn_iou', 'fg_dice', 'fg_iou', 'x_attn_b', 'x_a']
    row = {'seed': 0} | dict.fromkeys(names, 0)
    wanted = ['fg_iou', 'fg_attn_iou', 'fg_dice', 'fg_attn_dice', 'ari', 'x_attn_b', 'x_a']
    assert columns([{'Results': [row]}]) == wanted


def test_foreground_scores_have_names_and_a_table_of_their_own(root) -> None:
    record_runs(root, [run_folder(root, 0)])
    scores = {'fg_iou': 0.5, 'fg_attn_iou': 0.25, 'untrained_fg_attn_iou': 0.125}
    record_runs(root, [run_folder(root, 0, config='configs/some/second.py', **scores)])
    text = render(models_of(root))
    assert '| config | FG-ARI |' in text
    assert '| config | foreground IoU | foreground IoU, attention | FG-ARI |' in text
    assert '| `second.py` | 0.500 | 0.250 | 0.814 |' in text
    assert '| `second.py`, untrained | - | 0.125 | 0.010 |' in text


def test_entries_without_untrained_values_have_one_row(root) -> None:
    content = yaml.safe_load(METAFILE)['Models']
    assert 'by hand, untrained' not in render(content)
    metrics = {'fg_ari': 0.5, 'mbo_i': 0.4, 'untrained_fg_ari': 0.1}
    content[1]['Results'] = [{'Seed': 0, 'Metrics': metrics}]
    text = render(content)
    assert '| first, by hand | 0.500 | 0.400 |\n' in text
    assert '| first, by hand, untrained | 0.100 | - |\n' in text


def test_seeds_may_name_other_headlines(root) -> None:
    # What stands for a run was chosen otherwise before, which changes no value of it.
    foreground = {'fg_iou': 0.5, 'untrained_fg_iou': 0.1}
    runs = [run_folder(root, 0, **foreground)]
    runs.append(run_folder(root, 1, **foreground, headline='fg_iou'))
    record_runs(root, runs)
    rows = [found['Metrics'] for found in models_of(root)[0]['Results']]
    assert [list(row) for row in rows] == [list(rows[0])] * 2
    assert [row['untrained_fg_iou'] for row in rows] == [0.1, 0.1]


def test_the_model_zoo_shows_seeds_and_what_was_not_run(root) -> None:
    (root / 'docs').mkdir()
    (root / PAGE).write_text('old')
    text = changed_pages(root)[root / PAGE]
    row = (
        '(first, by hand) | `coco_mbo_i` | 0.140 | - | - | 1,500 | 1 | spot320 v1 | a few images |'
    )
    assert f'| [`first.py`](../configs/some/first.py) {row}\n' in text
    assert 'Not run here: [`first.py`](../configs/some/first.py).\n' in text
    (root / PAGE).write_text(text)
    assert root / PAGE not in changed_pages(root)


def test_the_pages_hold_what_the_metafiles_say() -> None:
    assert (ROOT / PAGE).is_file()
    assert not changed_pages(ROOT), 'run "python tools/results.py tables"'


@pytest.mark.parametrize('path', METAFILES, ids=lambda path: path.parent.name)
def test_metafiles_are_as_the_tool_writes_them(path) -> None:
    # Else a recorded run would change lines that have nothing to do with it.
    content = yaml.safe_load(path.read_text())
    assert dump(content) == path.read_text()
    assert all((ROOT / model['Config']).is_file() for model in content['Models'])


def test_check_exits_with_1(root) -> None:
    (root / 'tools').mkdir()
    for name in ('result_tables', 'model_zoo'):
        shutil.copy(ROOT / f'tools/{name}.py', root / 'tools')
    script = Path(shutil.copy(ROOT / 'tools/results.py', root / 'tools'))

    def tables(*flags: str) -> subprocess.CompletedProcess:
        command = [sys.executable, str(script), 'tables', *flags]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    checked = tables('--check')
    assert checked.returncode == 1
    assert checked.stdout == 'configs/some/README.md differs\n'
    assert tables().returncode == 0
    assert tables('--check').returncode == 0


def test_the_command_is_that_of_all_seeds() -> None:
    argv = [
        '/home/me/tools/demo.py', '--config', 'a.py', '--work-dir', '/tmp/me/7', '--cfg-options',
        'randomness.seed=7', 'grid=(1, 2)',
    ]  # fmt: skip
    wanted = (
        "tools/demo.py --config a.py --work-dir w --cfg-options randomness.seed=S 'grid=(1, 2)'"
    )
    assert command_of(argv, {}) == f'python {wanted}'
    assert command_of(argv, {'OMP_NUM_THREADS': '1'}) == f'OMP_NUM_THREADS=1 python {wanted}'
    assert command_of(['demo.py', '--work-dir=x'], {}) == 'python tools/demo.py --work-dir=w'


def test_the_headline_is_foreground_iou_or_fg_ari_where_there_is_one() -> None:
    assert headline_of(['ocl/fg_ari', 'ocl/attn_fg_ari', 'fg/iou', 'fg/attn_iou']) == 'fg/iou'
    assert headline_of(['ocl/attn_fg_ari', 'fg/attn_iou', 'fg/attn_dice']) == 'fg/attn_iou'
    assert headline_of(['recon/mse', 'ocl/fg_ari', 'ocl/attn_fg_ari']) == 'ocl/fg_ari'
    assert headline_of(['ocl/attn_fg_ari', 'ocl/fg_ari']) == 'ocl/attn_fg_ari'
    assert headline_of(['set/ap_inf', 'set/ap_1']) == 'set/ap_inf'


def test_protocols_of_several_evaluators() -> None:
    a, b = (SimpleNamespace(protocol=SimpleNamespace(name=n, version=v)) for n, v in ('x1', 'y2'))
    assert protocols_of([a, SimpleNamespace()]) == {'protocol': 'x', 'protocol_version': '1'}
    assert protocols_of([a, b, a]) == {'protocol': 'x, y', 'protocol_version': '1, 2'}
    assert protocols_of([SimpleNamespace()]) == {'protocol': None, 'protocol_version': None}
