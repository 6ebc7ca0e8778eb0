"""Code blocks of the pages: README, docs, and READMEs of configs and projects."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    str(path.relative_to(ROOT))
    for pattern in ('README.md', 'docs/*.md', 'configs/*/README.md', 'projects/*/README.md')
    for path in sorted(ROOT.glob(pattern))
]
FENCE = re.compile(r'^```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```', re.MULTILINE | re.DOTALL)
LANGUAGES = ('python', 'bash', 'shell')


@dataclass(frozen=True)
class Block:
    """A block of code; ``line`` is where its first line stands in ``page``."""

    page: str
    line: int
    language: str
    code: str

    @property
    def place(self) -> str:
        return f'{self.page}:{self.line}'

    @property
    def padded(self) -> str:
        """The code at its place in the page, so that errors name the line there."""
        return '\n' * (self.line - 1) + self.code

    @property
    def is_config(self) -> bool:
        """Whether it is a config of its own, which inherits."""
        return '_base_' in self.settings

    @property
    def is_fragment(self) -> bool:
        """Whether it is a part of a config: settings, and nothing else."""
        return bool(self.settings)

    @property
    def settings(self) -> list[str]:
        """Names that are set, if the block does nothing else and imports nothing."""
        if self.language != 'python':
            return []
        body = ast.parse(self.code).body
        if not all(isinstance(node, ast.Assign) and _plain(node.value) for node in body):
            return []
        return [target.id for node in body for target in node.targets]


def blocks_of(page: str, text: str | None = None) -> Iterator[Block]:
    """The blocks of a page that can be run, in order."""
    text = (ROOT / page).read_text() if text is None else text
    for match in FENCE.finditer(text):
        if match['language'] in LANGUAGES:
            line = text[: match.start('code')].count('\n') + 1
            yield Block(page, line, match['language'], match['code'])


def _plain(node: ast.expr) -> bool:
    """Whether a value calls nothing but dict() and range()."""
    calls = [n.func for n in ast.walk(node) if isinstance(n, ast.Call)]
    return all(isinstance(call, ast.Name) and call.id in ('dict', 'range') for call in calls)
