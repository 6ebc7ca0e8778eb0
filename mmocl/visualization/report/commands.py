"""Commands that give what a work dir lacks."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from mmocl.visualization.report.run_files import RunFiles

_USUAL_PROTOCOL = 'spot320'


def train_command(run: RunFiles) -> str:
    """Train what the work dir is of."""
    return shlex.join(['python', 'tools/train.py', _config(run), '--work-dir', str(run.work_dir)])


def score_command(run: RunFiles, protocols: Sequence[str]) -> str:
    """Score the checkpoint under the protocols of its config, into the work dir."""
    checkpoint = 'CHECKPOINT' if run.checkpoint is None else str(run.checkpoint)
    command = ['python', 'tools/test.py', _config(run), checkpoint]
    command += ['--work-dir', str(run.work_dir), '--protocol', *(protocols or [_USUAL_PROTOCOL])]
    return shlex.join([*command, '--out', str(run.work_dir / 'scores.json')])


def protocols_of(evaluators: Any) -> list[str]:
    """Names of the protocols of a config's evaluators, with their changed switches."""
    listed = [evaluators] if isinstance(evaluators, Mapping) else evaluators or []
    names = []
    for evaluator in listed:
        protocol = evaluator.get('protocol')
        if isinstance(protocol, Mapping):
            switches = ','.join(f'{k}={v}' for k, v in protocol.items() if k != 'name')
            protocol = f'{protocol.get("name")}({switches})' if switches else protocol.get('name')
        if protocol:
            names.append(str(protocol))
    return list(dict.fromkeys(names))


def _config(run: RunFiles) -> str:
    return str(run.work_dir / f'{run.name}.py')
