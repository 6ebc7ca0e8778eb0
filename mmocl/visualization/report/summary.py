"""What a run was: facts from its config and its log."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmocl.visualization.report.content import Curve, Difference, Fact
from mmocl.visualization.report.run_files import LogPart, RunFiles

# Of a log file, from both ends.
_NUM_BYTES = 65536
_TIME = re.compile(r'^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - ', re.MULTILINE)
# What says where a run was started, not what it is.
_PLACES = ('work_dir', 'launcher', 'load_from', 'resume', 'tokens')


def facts(
    run: RunFiles, curves: Mapping[str, Curve], scores: Mapping[str, Any] | None
) -> list[Fact]:
    """The lines of the summary that are known.

    Args:
        run: Files of the run.
        curves: Its curves.
        scores: Content of a file of ``tools/test.py --out``, which knows more than the log.
    """
    scores = scores or {}
    config, log = run.config, environment(run.trainings)
    seed = (config.get('randomness') or {}).get('seed', log.get('seed'))
    found = {
        'Config': run.name,
        'Training data': _data(config.get('train_dataloader')),
        'Test data': _data(config.get('test_dataloader')),
        'Batch size': _number((config.get('train_dataloader') or {}).get('batch_size')),
        'Steps': _steps(config, curves),
        'Seed': 'left to chance' if seed is None else str(seed),
        'Started': log.get('started'),
        'Duration': _duration(run.trainings),
        'Hardware': log.get('hardware'),
        'Versions': log.get('versions'),
        'Checkpoint': run.checkpoint and run.checkpoint.name,
        'Scored by': scores.get('command'),
        'Scored with': _scored_with(scores),
        'Work dir': str(run.work_dir),
    }
    return [Fact(name, value) for name, value in found.items() if value]


def model_line(model: Mapping[str, Any]) -> str:
    """The model in one line: its parts in the order of the data."""
    head = model.get('slot_head') or {}
    if not isinstance(head, Mapping) or not head:
        return _type(model)
    initializer = head.get('initializer') or {}
    traits = [
        f'{initializer.get("num_slots")} slots' if initializer.get('num_slots') else '',
        f'{head.get("num_iters")} updates' if head.get('num_iters') else '',
        _type(initializer),
        str(head.get('gradient') or ''),
    ]
    inside = ', '.join(trait for trait in traits if trait)
    parts = [_type(model[key]) for key in ('tokenizer', 'backbone') if model.get(key)]
    parts.append(f'{_type(head)} ({inside})' if inside else _type(head))
    parts += [_type(model[key]) for key in ('decoder', 'target') if model.get(key)]
    losses = [_type(loss) for loss in model.get('losses') or []]
    line = f'{_type(model)}: ' + ' → '.join(part for part in parts if part)
    return line + (f'; {", ".join(losses)}' if losses else '')


def environment(trainings: Sequence[LogPart]) -> dict[str, str]:
    """What the log of the last start says of the machine; empty without a log."""
    logs = [part.log for part in trainings if part.log]
    if not logs:
        return {}
    text, first = _ends(logs[-1])[0], _ends(logs[0])[0]
    found = {}
    if match := _TIME.search(first):
        found['started'] = match[1].replace('/', '-')
    if gpus := re.findall(r'^ +GPU [\d,]+: (.+)$', text, re.MULTILINE):
        found['hardware'] = ', '.join(gpus)
    elif re.search(r'CUDA available: False', text):
        found['hardware'] = 'no GPU'
    if match := re.search(r'^ +seed: (\d+)$', text, re.MULTILINE):
        found['seed'] = match[1]
    versions = []
    for name in ('Python', 'PyTorch', 'MMEngine'):
        if match := re.search(rf'^ +{name}: ([\w.+]+)', text, re.MULTILINE):
            versions.append(f'{name} {match[1]}')
    if versions:
        found['versions'] = ', '.join(versions)
    return found


def differences(config: Config, shipped: Config) -> list[Difference]:
    """Settings of a run that are not those of the shipped config, by key."""
    ours, theirs = _flat(config.to_dict()), _flat(shipped.to_dict())
    keys = [key for key in {**theirs, **ours} if key.split('.')[0] not in _PLACES]
    return [
        Difference(key, theirs.get(key), ours.get(key))
        for key in keys
        if ours.get(key) != theirs.get(key)
    ]


def find_shipped(name: str, folder: Path) -> Config | None:
    """The one config of a name in a folder of configs, if there is one."""
    paths = sorted(folder.rglob(f'{name}.py')) if re.fullmatch(r'[\w-]+', name) else []
    return Config.fromfile(paths[0]) if len(paths) == 1 else None


def _flat(value: Any, prefix: str = '') -> dict[str, str]:
    """Leaves of a config as texts, by dotted key."""
    if isinstance(value, Mapping) and value:
        items = [(str(key), inner) for key, inner in value.items()]
    elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
        items = [(str(i), inner) for i, inner in enumerate(value)]
    else:
        return {prefix: repr(list(value) if isinstance(value, tuple) else value)}
    flat: dict[str, str] = {}
    for key, inner in items:
        flat |= _flat(inner, f'{prefix}.{key}' if prefix else key)
    return flat


def _type(part: Any) -> str:
    name = part.get('type', '') if isinstance(part, Mapping) else type(part).__name__
    return (name if isinstance(name, str) else name.__name__).split('.')[-1]


def _data(loader: Mapping[str, Any] | None) -> str | None:
    dataset = (loader or {}).get('dataset')
    if not isinstance(dataset, Mapping):
        return None
    words = [_type(dataset)]
    for key in ('split', 'data_root', 'img_dir'):
        if dataset.get(key):
            words.append(str(dataset[key]))
    if count := dataset.get('num_images'):
        words.append(f'{count:,} generated images')
    side = dataset.get('image_size')
    for step in dataset.get('pipeline') or []:
        side = step.get('size', side) if _type(step) == 'ResizeCrop' else side
    if side:
        words.append(f'{side} pixels' if isinstance(side, int) else f'{side}')
    return ', '.join(words)


def _steps(config: Config, curves: Mapping[str, Curve]) -> str | None:
    wanted = (config.get('train_cfg') or {}).get('max_iters')
    done = max((curve.steps[-1] for curve in curves.values() if curve.steps), default=None)
    if done is None:
        return None if wanted is None else f'{wanted:,} planned'
    return f'{done:,}' if wanted is None else f'{done:,} of {wanted:,}'


def _duration(trainings: Sequence[LogPart]) -> str | None:
    total = timedelta()
    for part in trainings:
        times = [] if part.log is None else _TIME.findall(''.join(_ends(part.log)))
        if times:
            first, last = (datetime.strptime(t, '%Y/%m/%d %H:%M:%S') for t in (times[0], times[-1]))
            total += last - first
    if not total:
        return None
    starts = f', in {len(trainings)} starts' if len(trainings) > 1 else ''
    return f'{str(total).split(".")[0]} (h:mm:ss){starts}'


def _scored_with(scores: Mapping[str, Any]) -> str | None:
    found = [f'commit {scores["commit"]}'] if scores.get('commit') else []
    found += [
        f'{name} {number}' for name, number in (scores.get('versions') or {}).items() if number
    ]
    found += [scores['hardware']] if scores.get('hardware') else []
    return ', '.join(found) or None


def _ends(path: Path) -> tuple[str, str]:
    """The beginning of a file, and its end if it is long."""
    with path.open('rb') as file:
        head = file.read(_NUM_BYTES)
        file.seek(0, 2)
        tail = b''
        if (size := file.tell()) > _NUM_BYTES:
            file.seek(max(_NUM_BYTES, size - _NUM_BYTES))
            tail = file.read()
    return head.decode(errors='replace'), tail.decode(errors='replace')


def _number(value: Any) -> str | None:
    return None if value is None else str(value)
