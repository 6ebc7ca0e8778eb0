"""READMEs of the repository as pages of the site, and links that hold there and on a code host.

Pages link to files of the repository by relative paths, as a code host wants it. In the site a link
to a README, or to a folder that has one, leads to the copy of that page; a link to another file
offers the file (MyST does so), and a link to another folder becomes its path.
"""

import os
import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

LOGGER = getLogger(__name__)
DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
COPIES = DOCS / '_repository'
PATTERNS = (
    'CHANGELOG.md',
    'CONTRIBUTING.md',
    'benchmarks/README.md',
    'configs/*/README.md',
    'projects/*/README.md',
    'tools/model_converters/README.md',
)
# A link or picture in Markdown, or blocks and spans of code, in which links are none.
LINK = re.compile(
    r'(?P<code>^```.*?^```|`[^`\n]*`)|(?P<text>!?\[[^\]]*\])\((?P<to>[^)\s]+)\)', re.S | re.M
)


def setup(app: Sphinx) -> None:
    """Write the copies before Sphinx looks for pages, and renew links as it reads them."""
    app.connect('config-inited', lambda _app, _config: write_copies())
    app.connect('source-read', _renew)


def write_copies() -> None:
    """Copy every README of ``PATTERNS`` into ``COPIES``, afresh."""
    shutil.rmtree(COPIES, ignore_errors=True)
    for source in sources():
        path = copy_of(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(renewed(source.read_text(), source, path))


def sources() -> list[Path]:
    """The files of the repository that become pages."""
    return [path for pattern in PATTERNS for path in sorted(ROOT.glob(pattern))]


def copy_of(source: Path) -> Path:
    """The page of a README: ``configs/psa/README.md`` is ``_repository/configs/psa.md``."""
    page = source.relative_to(ROOT)
    page = page.parent.with_suffix('.md') if page.name == 'README.md' else page
    return COPIES / page


def renewed(text: str, source: Path, page: Path) -> str:
    """The text of ``source`` with links that hold in ``page``.

    Raises:
        ValueError: If a link names a file that does not exist.
    """

    def renew(match: re.Match[str]) -> str:
        if match['code'] or re.match(r'[a-z]+:|#', match['to']):
            return match[0]
        name, _, anchor = match['to'].partition('#')
        target = (source.parent / name).resolve()
        if not target.exists():
            raise ValueError(f'{source.relative_to(ROOT)} links to {name}, which does not exist.')
        readme = target / 'README.md' if target.is_dir() else target
        if readme in sources():
            target = copy_of(readme)
        elif target.is_dir():
            label = match['text'].strip('[]')
            path = target.relative_to(ROOT).as_posix()
            return label if label.strip('`/') == path else f'{label} (`{path}/`)'
        to = os.path.relpath(target, page.parent) + (f'#{anchor}' if anchor else '')
        return f'{match["text"]}({to})'

    return LINK.sub(renew, text)


def _renew(app: Sphinx, name: str, content: list[str]) -> None:
    page = Path(app.env.doc2path(name))
    if page.suffix == '.md' and not page.is_relative_to(COPIES):
        try:
            content[0] = renewed(content[0], page, page)
        except ValueError as error:
            LOGGER.warning('%s', error, location=name)
