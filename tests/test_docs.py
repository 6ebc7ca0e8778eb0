"""Code blocks of the pages: run, or at least understood."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mmengine.registry
import pytest
from docs_commands import check_make, check_pip, fresh_globals, parse, run, without_weights
from docs_pages import PAGES, ROOT, Block, blocks_of
from docs_world import make_world, run_bash
from mmengine.config import Config
from mmengine.registry import Registry

from mmocl.registry import MODELS

# Commands of Python that are not run but parsed, by page and command, and why.
PARSED = {
    ('configs/.*', '.*'): 'runs of full size, recorded in metafiles',
    ('projects/(as_released|identifiability_2d|mmseg_slot_head)/.*', '.*'): 'runs of full size',
    ('.*', 'python -m benchmarks .*'): 'measures for minutes',
    ('README.md', 'python tools/(train|cache_features).py configs/psa/psa_dino_coco.py .*'): 'COCO',
    ('(README|docs/evaluation).md', '.* --protocol .*'): 'needs a model of 224 pixels',
    ('README.md', '.* scores_seed0.json .*|.*compare_records.*'): 'scores of the commands above it',
    ('docs/evaluation.md', '.*'): 'several trained runs on COCO',
    ('docs/caches.md', '.*'): 'COCO',
    ('docs/own_pictures.md', '.*photo_tokens.*'): 'random backbones differ, which a cache refuses',
}


@pytest.fixture(scope='session')
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp('world'))


@pytest.fixture
def inside(world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The world as the working directory."""
    monkeypatch.chdir(world)
    monkeypatch.setenv('MMOCL_DATA', str(world / 'data'))
    monkeypatch.setenv('MMOCL_WEIGHTS', str(world / 'weights'))
    monkeypatch.setenv('MMOCL_FOLDER', 'photos')
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    fresh_globals()
    return world


@pytest.mark.parametrize('page', [page for page in PAGES if list(blocks_of(page))])
def test_blocks_of_a_page(page: str, inside: Path) -> None:
    """In order, those in Python in one namespace."""
    run_blocks(blocks_of(page), inside)


def run_blocks(blocks: Iterator[Block], world: Path) -> None:
    names: dict[str, Any] = {'__name__': 'page'}
    for block in blocks:
        if block.language != 'python':
            run_bash(block, world, answer)
            continue
        try:
            if block.is_config:
                build_config(block, world)
                continue
            exec(compile(block.padded, block.page, 'exec'), names)
            if block.is_fragment:
                settings = {name: names[name] for name in block.settings}
                if any(isinstance(v, dict) and 'type' not in v for v in settings.values()):
                    raise ValueError('changes of a config need the _base_ that they change')
                check_fragment(block, settings)
        except Exception as error:
            raise AssertionError(f'{block.place}: {type(error).__name__}: {error}') from error


def answer(block: Block, program: str, argv: list[str]) -> None:
    """Run or parse a command of a block; its line is that of the block."""
    command = ' '.join([program, *argv])
    checks = {'pip': check_pip, 'make': check_make}
    try:
        if program in checks:
            checks[program](argv, ROOT)
        elif reason_not_to_run(block.page, command):
            parse(argv)
        else:
            run(argv)
    except (Exception, SystemExit) as error:
        raise AssertionError(f'{block.place}: {command}\n{error!r}') from error


def reason_not_to_run(page: str, command: str) -> str | None:
    """Why a command is only parsed; None if it is run."""
    for (pages, commands), reason in PARSED.items():
        if re.fullmatch(pages, page) and re.fullmatch(commands, command, re.DOTALL):
            return reason
    return None


def build_config(block: Block, world: Path) -> None:
    """Load a config that a page shows, and build its model without weights."""
    path = world / 'shown_config.py'
    path.write_text(block.padded)
    cfg = Config.fromfile(path)
    without_weights(cfg.model)
    MODELS.build(cfg.model)


def check_fragment(block: Block, settings: Any) -> None:
    """Look the parts of a config up, and that they take the arguments that they are shown with."""
    if isinstance(settings, dict):
        if 'type' in settings:
            known = inspect.signature(part(settings['type'])).parameters
            unknown = set(settings) - {'type'} - set(known)
            if unknown and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
                raise TypeError(f'{settings["type"]} has no {sorted(unknown)}')
        settings = list(settings.values())
    if isinstance(settings, list):
        for value in settings:
            check_fragment(block, value)


def part(name: str) -> type:
    """The registered class of that name, of mmocl or else of mmsegmentation.

    Raises:
        KeyError: If there is none.
    """
    names = [name] if '.' in name else [f'mmocl.{name}', f'mmseg.{name}', f'mmcv.{name}']
    for full_name in names:
        for root in vars(mmengine.registry).values():
            if isinstance(root, Registry) and (found := root.get(full_name)):
                return found
    raise KeyError(f'no part {name!r}')


# Tools and modules that pages show and no page runs.
ONLY_PARSED = {
    'benchmarks',
    'projects.identifiability_2d.run',
    'projects.mmseg_slot_head.convert_vit',
    'tools/cache_features.py',
    'tools/cache_images.py',
    'tools/compare_records.py',
    'tools/demo.py',
    'tools/measure_identifiability.py',
    'tools/probe_properties.py',
    'tools/score_baselines.py',
    'tools/summarize_seeds.py',
}


def test_what_is_run_and_what_is_only_parsed(inside) -> None:
    commands: list[tuple[str, str, list[str]]] = []
    for page in PAGES:
        for block in blocks_of(page):
            if block.language != 'python':
                run_bash(
                    block,
                    inside,
                    lambda at, program, argv: commands.append((at.page, program, argv)),
                )
    found = {
        (page, ' '.join([program, *argv])): argv[argv[0] == '-m']
        for page, program, argv in commands
        if program == 'python'
    }
    run_somewhere = {tool for at, tool in found.items() if not reason_not_to_run(*at)}
    assert set(found.values()) - run_somewhere == ONLY_PARSED
    reasons = [reason_not_to_run(*at) for at in found]
    unused = [why for why in PARSED.values() if why not in reasons]
    assert not unused, f'no page shows a command for these any more: {unused}'
    assert {program for _, program, _ in commands} <= {'python', 'pip', 'make'}


BROKEN = {
    'python': (
        '```python\na = 1\n```\n```python\nb = a\nc = missing\n```\n',
        r'page.md:5: NameError',
    ),
    'config': (
        "```python\n_base_ = ['configs/psa/psa_base_conv_sprites.py']\n"
        'model = dict(slot_head=dict(slot_dimension=3))\n```\n',
        r"page.md:2: TypeError.*'slot_dimension'",
    ),
    'fragment': (
        "\n```python\nhook = dict(type='CompileHook', fast=True)\n```\n",
        r"page.md:3.*'fast'",
    ),
    'part': (
        "```python\nhook = dict(type='NoSuchHook')\n```\n",
        r"page.md:2: KeyError.*'NoSuchHook'",
    ),
    'base': (
        '```python\nmodel = dict(slot_head=dict(slot_dim=3))\n```\n',
        r'page.md:2: .*need the _base_',
    ),
    'shell': ('```bash\nls\nls no_such_file\nls\n```\n', r'page.md:2: bash says.*no_such_file'),
    'flag': (
        '```bash\nls\npython tools/test.py CONFIG \\\n  --no-such-flag\n```\n',
        r'page.md:3: python tools/test.py configs/psa.*SystemExit\(2\)',
    ),
    'tool': ('```bash\npython tools/no_tool.py\n```\n', r'page.md:2:.*FileNotFoundError'),
    'extra': ("```bash\npip install -e '.[nothing]'\n```\n", r"page.md:2: pip .*'nothing'"),
    'target': ('```bash\nmake nothing\n```\n', r'page.md:2: make nothing'),
}


@pytest.mark.parametrize('case', BROKEN)
def test_a_broken_block_is_named(case, inside) -> None:
    text, message = BROKEN[case]
    with pytest.raises(AssertionError, match=f'(?s){message}'):
        run_blocks(blocks_of('page.md', text), inside)
