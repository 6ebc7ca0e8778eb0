"""Pages of the site: their links, and that the API reference leaves nothing out."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'docs'))

from repository_pages import copy_of, renewed, sources  # noqa: E402

PAGE = ROOT / 'docs/page.md'
PAGES = [*sorted((ROOT / 'docs').glob('*.md')), *sources()]
# Packages that users meet through others.
NOT_SHOWN = {'mmocl', 'mmocl.engine', 'mmocl.evaluation'}


@pytest.mark.parametrize('path', PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(path) -> None:
    renewed(path.read_text(), path, path)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('[PSA](../configs/psa/)', '[PSA](_repository/configs/psa.md)'),
        ('[PSA](../configs/psa/README.md#results)', '[PSA](_repository/configs/psa.md#results)'),
        ('[law](../LICENSE)', '[law](../LICENSE)'),
        ('[kept](evaluation.md#collapse)', '[kept](evaluation.md#collapse)'),
        ('[here](#here) [there](https://arxiv.org)', '[here](#here) [there](https://arxiv.org)'),
        ('[records](../benchmarks/results)', 'records (`benchmarks/results/`)'),
        ('[`tools/`](../tools/)', '`tools/`'),
        ('`[a](b)`\n```\n[a](b)\n```', '`[a](b)`\n```\n[a](b)\n```'),
    ],
)
def test_a_link_holds_in_the_site(text, expected) -> None:
    assert renewed(text, PAGE, PAGE) == expected


def test_a_copy_of_a_readme_links_from_its_own_place() -> None:
    source = ROOT / 'projects/mmseg_slot_head/README.md'
    text = renewed(
        '[a](../../docs/performance.md#b) [c](../../configs/isa/)', source, copy_of(source)
    )
    assert text == '[a](../../performance.md#b) [c](../configs/isa.md)'


def test_a_link_to_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r'docs/page.md links to ../configs/none, which'):
        renewed('[a](../configs/none)', PAGE, PAGE)


def test_the_reference_shows_every_package() -> None:
    shown = {line.strip() for line in (ROOT / 'docs/api.md').read_text().splitlines()}
    for path in sorted((ROOT / 'mmocl').rglob('__init__.py')):
        name = '.'.join(path.parent.relative_to(ROOT).parts)
        tree = ast.parse(path.read_text())
        names = [t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets]
        if '__all__' in names and name not in NOT_SHOWN:
            assert name in shown, f'docs/api.md lacks {name}'


def test_no_text_file_has_marks_of_a_merge() -> None:
    if not (ROOT / '.git').exists():
        pytest.skip('not a clone: nothing says which files are tracked')
    # The pattern does not match itself.
    command = ['git', 'grep', '-nIE', '^(<{7}|>{7}|={7}$)']
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode in (0, 1), found.stderr
    assert found.stdout == ''
