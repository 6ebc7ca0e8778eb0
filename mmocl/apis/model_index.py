"""Models by name, from the ``model-index.yml`` of the repository and from one of your own."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

import mmocl

# Its name, and the variable that tells where another one is.
LOCAL_INDEX = 'model-index.yml'
INDEX_VARIABLE = 'MMOCL_MODEL_INDEX'
_ROOT = Path(mmocl.__file__).parents[1]


@dataclass(frozen=True)
class _Entry:
    """An entry of ``Models`` and the folder that its paths start from."""

    name: str
    content: dict[str, Any]
    folder: Path
    file: Path

    def path(self, key: str) -> str | None:
        value = self.content.get(key)
        value = value[0] if isinstance(value, list) and value else value
        if not isinstance(value, str):
            return None
        # Nothing is downloaded: an address is told, and refused by who would read it.
        return value if '://' in value else str(self.folder / value)


def find_model(name: str, index: str | Path | None = None) -> tuple[str | None, str | None]:
    """Find a model by its name.

    Without ``index`` the name is looked for in the file that the environment variable
    ``MMOCL_MODEL_INDEX`` names, then in ``model-index.yml`` of the working directory, then in that
    of the repository; the first that has it counts. Paths in an index start from its folder.

    Args:
        name: ``Name`` of an entry of ``Models``.
        index: An index to look in, and in no other.

    Returns:
        Path of the config file, and path (or address) of the weights; None for what the entry does
        not have. A published file has its config inside.

    Raises:
        FileNotFoundError: If an index that was named is missing, or the entry's config.
        ValueError: If no entry has the name, the most similar names are told; if an index is
            damaged, or the entry has neither ``Config`` nor ``Weights``.
    """
    files = _indexes() if index is None else [_existing(Path(index), 'index')]
    entries = [entry for file in files for entry in _entries(file)]
    for entry in entries:
        if entry.name == name:
            return _paths(entry)
    names = [entry.name for entry in entries]
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    where = ', '.join(map(str, files)) or f'any {LOCAL_INDEX}'
    text = f'No model is named {name!r} in {where}, and there is no such file.'
    if close:
        text += f' Did you mean {" or ".join(map(repr, close))}?'
    if index is None and not (_ROOT / LOCAL_INDEX).is_file():
        text += (
            ' mmocl was installed without its configs: give the path of a config or of a published '
            'file, or work in a checkout of the repository.'
        )
    raise ValueError(text)


def _indexes() -> list[Path]:
    """The indexes that there are, the user's own first."""
    found = []
    if named := os.environ.get(INDEX_VARIABLE):
        found.append(_existing(Path(named).expanduser(), INDEX_VARIABLE))
    for folder in (Path.cwd(), _ROOT):
        file = folder / LOCAL_INDEX
        if file.is_file() and file.resolve() not in [other.resolve() for other in found]:
            found.append(file)
    return found


def _existing(path: Path, what: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f'No index of models at {str(path)!r} ({what}).')
    return path


def _entries(index: Path) -> Iterator[_Entry]:
    """All entries of an index and of the files that it imports."""
    content = _read(index)
    yield from _models(content, index, index.parent)
    for name in content.get('Import') or []:
        file = index.parent / str(name)
        if not file.is_file():
            raise FileNotFoundError(f'{index} imports {name!r}, which is missing.')
        yield from _models(_read(file), file, index.parent)


def _models(content: dict[str, Any], file: Path, folder: Path) -> Iterator[_Entry]:
    for model in content.get('Models') or []:
        if not isinstance(model, dict) or not isinstance(model.get('Name'), str):
            raise ValueError(f'{file}: every entry of Models needs a Name, got {model!r}.')
        yield _Entry(model['Name'], model, folder, file)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f'{file} is no YAML: {error}') from error
    if not isinstance(content, dict):
        raise ValueError(f'{file} is no index of models: expected Models or Import.')
    return content


def _paths(entry: _Entry) -> tuple[str | None, str | None]:
    config, weights = entry.path('Config'), entry.path('Weights')
    if config is None and weights is None:
        raise ValueError(f'{entry.file}: {entry.name!r} has neither Config nor Weights.')
    if config is not None and not Path(config).is_file():
        raise FileNotFoundError(
            f'{entry.file}: the config of {entry.name!r} is missing: {config}. An installed mmocl '
            'has no configs: work in a checkout of the repository.'
        )
    return config, weights
