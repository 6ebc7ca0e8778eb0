"""Which benchmarks there are: the modules of this package that have a function ``run``."""

import ast
from pathlib import Path

FOLDER = Path(__file__).parent


def find_benchmarks() -> dict[str, str]:
    """First lines of the docstrings by name; nothing is imported, as some need much."""
    found = {}
    for path in sorted(FOLDER.glob('*.py')):
        tree = ast.parse(path.read_text())
        if any(isinstance(node, ast.FunctionDef) and node.name == 'run' for node in tree.body):
            found[path.stem] = (ast.get_docstring(tree) or '').split('\n')[0]
    return found
