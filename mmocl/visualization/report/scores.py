"""Scores of a run: files of ``tools/test.py --out``, of its tests, or its last validation."""

from __future__ import annotations

import filecmp
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmocl.evaluation.metrics import CollapseMetric
from mmocl.file_digest import file_digest
from mmocl.structures import MASK_SOURCES
from mmocl.visualization.report.content import Curve, Score, ScoreTable
from mmocl.visualization.report.run_files import RunFiles
from mmocl.visualization.report.score_names import SCORE_NAMES

ATTENTION = MASK_SOURCES['attention'][1]


@dataclass(frozen=True)
class ScoreFile:
    """A file of ``tools/test.py --out``, and its records that are there: scores of every image."""

    path: Path
    content: dict[str, Any]
    records: dict[str, dict[str, Any]]


def read_scores(path: str | Path) -> ScoreFile:
    """Read a file of ``tools/test.py --out`` and the records it names.

    Records lie beside the file, in ``<name>.records``, or where they were when it was written.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it or a record of it is none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'--scores: no file at {path.absolute()}')
    content = _json(path, ('config', 'checkpoint', 'metrics', 'records'), 'tools/test.py --out')
    records = {}
    for prefix, header in content['records'].items():
        written = Path(header['path'])
        for file in (path.with_suffix('.records') / written.name, written):
            if file.is_file():
                keys = ('source', 'protocol', 'version', 'switches', 'summary', 'images')
                record = _json(file, keys, 'a metric of masks')
                if record['source'].get('checkpoint') != content['checkpoint']:
                    raise ValueError(
                        f'{file} holds scores of {record["source"].get("checkpoint")}, but {path} '
                        f'those of {content["checkpoint"]}; expected files of one run of '
                        'tools/test.py'
                    )
                records[prefix] = record
                break
    return ScoreFile(path, content, records)


def find_scores(work_dir: Path) -> list[Path]:
    """Files in a work dir that ``tools/test.py --out`` wrote, the newest first."""
    found = []
    for path in work_dir.glob('*.json'):
        try:
            content = json.loads(path.read_text())
        except ValueError:
            continue
        if isinstance(content, dict) and {'checkpoint', 'metrics', 'records'} <= content.keys():
            found.append(path)
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def not_of_run(scores: ScoreFile, run: RunFiles) -> list[str]:
    """What says that scores are of another run or checkpoint; nothing if they fit."""
    content, found = scores.content, []
    config, scored = Path(content['config']).stem, Path(content['checkpoint'])
    if config != run.name:
        found.append(f'config {config} instead of {run.name}')
    if run.checkpoint is not None:
        same = named = scored.name == run.checkpoint.name
        digest = content.get('checkpoint_sha256')
        if digest is not None:
            # Work dirs may be moved and copied, and another training may write into them.
            same = digest == file_digest(run.checkpoint)
        elif same and scored.is_file():
            same = filecmp.cmp(scored, run.checkpoint, shallow=False)
        if not same:
            was = f' with SHA-256 {digest[:12]}...' if named and digest is not None else ''
            found.append(f'checkpoint {scored}{was} instead of {run.checkpoint}')
    seed = (run.config.get('randomness') or {}).get('seed')
    given = content.get('training_seed')
    if None not in (seed, given) and seed != given:
        found.append(f'training seed {given} instead of {seed}')
    return found


def tables(scores: ScoreFile) -> list[ScoreTable]:
    """One table a protocol, with the intervals of the records."""
    found = []
    for prefix, header in scores.content['records'].items():
        rows: dict[str, dict[str, Score]] = {}
        for key, value in header['summary'].items():
            name, source = split_source(key)
            rows.setdefault(name, {})[source] = Score(value['mean'], value['low'], value['high'])
        switches = header.get('switches') or {}
        title = f'{header["protocol"]} v{header["version"]}'
        caption = (
            f'{header["num_images"]:,} images, means over {switches.get("average", "image")}s; '
            f'published numbers are those of {switches.get("mask_source", "decoder")} masks. '
            f'Brackets: {100 * header.get("confidence", 0.95):.0f} % bootstrap interval over '
            f'images, which says nothing about training seeds. Results named {prefix}/'
        )
        found.append(ScoreTable(title, caption, _sources(rows), rows))
    return found


def other_scores(scores: ScoreFile) -> dict[str, float | None]:
    """Results that no record has."""
    known = {
        f'{prefix}/{key}'
        for prefix, header in scores.content['records'].items()
        for key in header['summary']
    }
    return {
        name: value
        for name, value in scores.content['metrics'].items()
        if name not in known and '/num_images' not in name and isinstance(value, int | float | None)
    }


def plain_tables(
    results: Mapping[str, float | None], protocol: str
) -> tuple[list[ScoreTable], dict[str, float | None]]:
    """Tables of results without intervals, one a prefix.

    Args:
        results: Results of a test or a validation, as ``prefix/name``.
        protocol: The protocol as the config names it, and which images and step.

    Returns:
        Tables of the scores of masks, and the other results; signs of collapse are in neither.
    """
    by_prefix: dict[str, dict[str, dict[str, Score]]] = {}
    others: dict[str, float | None] = {}
    for key, value in results.items():
        prefix, _, rest = key.rpartition('/')
        name, source = split_source(rest)
        if prefix and name in SCORE_NAMES:
            by_prefix.setdefault(prefix, {}).setdefault(name, {})[source] = Score(value)
        elif prefix != CollapseMetric.default_prefix and not rest.startswith('num_images'):
            others[key] = value
    found = [ScoreTable(p, protocol, _sources(rows), rows) for p, rows in by_prefix.items()]
    return found, others


def last_test(run: RunFiles) -> tuple[dict[str, float | None], str] | None:
    """Results of the last test of the work dir, and what they are of; None without one."""
    for part in reversed(run.tests):
        assert part.results is not None
        content = _json(part.results, (), 'tools/test.py')
        values = {key: value for key, value in content.items() if '/' in key}
        if values:
            return values, f'Test of {part.folder.name}, without intervals'
    return None


def last_validation(curves: Mapping[str, Curve]) -> tuple[dict[str, float | None], str] | None:
    """Scores of the last validation, and what they are of; None without one."""
    scores = {n: c for n, c in curves.items() if '/' in n and 'loss' not in n and c.steps}
    if not scores:
        return None
    step = max(curve.steps[-1] for curve in scores.values())
    values = {n: c.values[-1] for n, c in scores.items() if c.steps[-1] == step}
    return values, f'Last validation, iteration {step:,}, without intervals'


def main_score(record: Mapping[str, Any]) -> str:
    """The first score of a record, of the masks that its protocol is about."""
    names = list(record['summary'])
    wanted = record['switches'].get('mask_source')
    if wanted == 'attention':
        names = [name for name in names if name.startswith(ATTENTION)] or names
    return names[0]


def split_source(key: str) -> tuple[str, str]:
    """Name of a score without the prefix of its masks, and what the masks are called."""
    if key.startswith(ATTENTION):
        return key.removeprefix(ATTENTION), 'attention'
    return key, 'decoder'


def _sources(rows: Mapping[str, Mapping[str, Score]]) -> list[str]:
    return sorted({source for row in rows.values() for source in row}, reverse=True)


def _json(path: Path, keys: Sequence[str], writer: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f'{path} is no JSON file of {writer}: {error}') from error
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing or not isinstance(content, dict):
        raise ValueError(f'{path} is no file of {writer}: it lacks {missing}')
    return content
