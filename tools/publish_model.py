"""Make a file to share: ``python tools/publish_model.py CHECKPOINT --out NAME.safetensors``.

It holds the weights and, as data in its header, config, seed, steps and with ``--metrics`` the
results of ``tools/test.py``; the state of the optimizer, of its schedule and of the log is left
out. Loading it runs no code. ``SlotInferencer('NAME.safetensors')`` needs nothing else.
"""

import argparse
import hashlib
import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config
from mmengine.registry import init_default_scope
from provenance import current_commit, versions

from mmocl.apis.model_index import LOCAL_INDEX
from mmocl.file_digest import file_digest
from mmocl.model_files import (
    LoadedCheckpoint,
    PublishedModel,
    inference_config,
    load_checkpoint,
    trained_config,
)
from mmocl.model_files.config_data import portable
from mmocl.model_files.published import published_bytes
from mmocl.models.checkpoint import model_of, require_fit, without_pretrained
from mmocl.registry import MODELS
from mmocl.write_atomically import write_atomically


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', help='checkpoint of a training')
    parser.add_argument('--out', required=True, metavar='NAME.safetensors', help='file to write')
    parser.add_argument('--config', help="config file, in place of the checkpoint's own config")
    parser.add_argument(
        '--metrics', nargs='+', default=[], metavar='JSON', help='files of tools/test.py --out'
    )
    parser.add_argument(
        '--hash', action='store_true', help="add 8 digits of the file's SHA-256 to its name"
    )
    parser.add_argument(
        '--index',
        metavar='FILE',
        help=f'add the model to an index of your own, e.g. {LOCAL_INDEX}, so that it has a name',
    )
    args = parser.parse_args()
    if Path(args.out).suffix != '.safetensors':
        raise ValueError(f'--out must end with .safetensors, got {args.out!r}.')

    checkpoint = load_checkpoint(args.checkpoint)
    model = published(args.checkpoint, checkpoint, config_of(args, checkpoint), args.metrics)
    data = published_bytes(model)
    digest = hashlib.sha256(data).hexdigest()
    out = Path(args.out)
    if args.hash:
        out = out.with_stem(f'{out.stem}-{digest[:8]}')
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, data)
    print(summary(args.checkpoint, checkpoint, model, out, digest))
    entry = index_entry(model, out)
    if args.index:
        add_to_index(Path(args.index), entry, out)
        print(f'{args.index} names it {entry["Name"]!r}.')


def config_of(args: argparse.Namespace, checkpoint: LoadedCheckpoint) -> Config:
    """The config: a file of the user's, or the checkpoint's own, which is not run.

    Raises:
        ValueError: If there is none, or the checkpoint's own names what is not registered.
    """
    if args.config:
        config = Config.fromfile(args.config)
        config.model.backbone = with_inner_model(config.model.get('backbone'))
        return config
    config = trained_config(checkpoint, args.checkpoint)
    if config is None:
        raise ValueError(f'{args.checkpoint} has no config; give it with --config.')
    # What SlotInferencer would refuse to build is not built here either.
    inference_config(config, args.checkpoint)
    return Config(config)


def with_inner_model(backbone: Any) -> Any:
    """A backbone's config with the model of a SlotBackbone in it, in place of its config file."""
    if not isinstance(backbone, dict):
        return backbone
    changed = {**backbone}
    if isinstance(changed.get('model'), str):
        changed['model'] = Config.fromfile(changed['model']).model.to_dict()
    if isinstance(changed.get('model'), dict):
        inner = with_inner_model(changed['model'].get('backbone'))
        changed['model'] = {**changed['model'], 'backbone': inner}
    if 'backbone' in changed:
        changed['backbone'] = with_inner_model(changed['backbone'])
    return changed


def published(
    path: str, checkpoint: LoadedCheckpoint, config: Config, metrics: list[str]
) -> PublishedModel:
    """What the file will hold.

    Args:
        path: Path of the checkpoint.
        checkpoint: Its content.
        config: Its config.
        metrics: Paths of results.

    Raises:
        ValueError: If the weights do not fit the config, or results are of another checkpoint.
    """
    weights = checkpoint.get('state_dict', checkpoint)
    init_default_scope(config.get('default_scope', 'mmocl'))
    backbone = without_pretrained(config.model.get('backbone'))
    model = MODELS.build({**config.model, 'backbone': backbone})
    require_fit(model, weights, f'Checkpoint {path} does not fit {model_of(config)}')
    meta = checkpoint.get('meta') or {}
    facts = {'seed': meta.get('seed'), 'steps': meta.get('iter')}
    results: dict[str, Any] = {}
    for file in metrics:
        results |= results_of(Path(file), Path(path), facts)
    trained = {'mmengine_of_training': meta.get('mmengine_version')}
    return PublishedModel(
        config=portable(config.to_dict()),
        weights=weights,
        **facts,
        versions={**versions('torch', 'timm'), **trained},
        commit=current_commit(),
        metrics=results,
    )


def results_of(file: Path, checkpoint: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Results of a file of ``tools/test.py``, by name of the evaluator or protocol.

    Raises:
        ValueError: If the file has none, or they are of another checkpoint.
    """
    content = json.loads(file.read_text())
    if not isinstance(content, dict) or not {'metrics', 'checkpoint', 'steps'} <= content.keys():
        raise ValueError(f'{file} holds no results of tools/test.py --out.')
    told = (Path(content['checkpoint']).name, content['training_seed'], content['steps'])
    wanted = (checkpoint.name, facts['seed'], facts['steps'])
    if told != wanted:
        raise ValueError(
            f'{file} is of another checkpoint: file, seed and steps are {told}, expected {wanted}.'
        )
    digest = content.get('checkpoint_sha256')  # older files lack it
    if digest is not None and digest != (found := file_digest(checkpoint)):
        raise ValueError(
            f'{file} is of another checkpoint: SHA-256 {digest}, but {checkpoint} has {found}.'
        )
    about = {key: content.get(key) for key in ('command', 'commit', 'hardware', 'data', 'options')}
    about['command'] = shlex.join(portable(shlex.split(about['command'] or '')))
    results: dict[str, Any] = {}
    for name, value in content['metrics'].items():
        prefix, _, score = name.rpartition('/')
        record = content['records'].get(prefix, {})
        kept = {key: record.get(key) for key in ('metric', 'protocol', 'version', 'num_images')}
        if prefix not in results:
            results[prefix] = {**portable(about), **kept, 'scores': {}}
        results[prefix]['scores'][score] = record.get('summary', {}).get(score) or {'mean': value}
    return results


def summary(
    path: str, checkpoint: LoadedCheckpoint, model: PublishedModel, out: Path, digest: str
) -> str:
    """What was kept and what was left out, in lines."""
    left_out = sorted(checkpoint.keys() - {'state_dict', 'meta'}) if 'meta' in checkpoint else []
    total = sum(value.numel() for value in model.weights.values())
    lines = [
        f'{path}: {Path(path).stat().st_size / 1e6:.2f} MB',
        f'{out}: {out.stat().st_size / 1e6:.2f} MB, SHA-256 {digest}',
        f'kept: {len(model.weights)} tensors, {total:,} values; config, seed {model.seed}, '
        f'{model.steps} steps',
        f'left out: {", ".join(left_out) or "nothing"}',
        f'metrics: {", ".join(name or "(no protocol)" for name in model.metrics) or "none"}',
    ]
    return '\n'.join(lines)


def index_entry(model: PublishedModel, out: Path) -> dict[str, Any]:
    """The entry of a model in an index, in OpenMMLab's form."""
    results = [
        {
            'Task': 'Object Discovery',
            'Dataset': (found['data'] or {}).get('type', 'unknown'),
            'Metrics': {
                f'{name}/{score}'.lstrip('/'): round(value['mean'], 3)
                for score, value in found['scores'].items()
                if value['mean'] is not None
            },
        }
        for name, found in model.metrics.items()
    ]
    metadata = {'Training Steps': model.steps, 'Seed': model.seed}
    return {'Name': out.stem, 'Metadata': metadata, 'Results': results, 'Weights': None}


def add_to_index(index: Path, entry: dict[str, Any], out: Path) -> None:
    """Write an entry into an index, in place of one of its name; the path is relative to it."""
    content = yaml.safe_load(index.read_text()) if index.is_file() else None
    content = content or {'Models': []}
    folder = index.resolve().parent
    entry = {**entry, 'Weights': os.path.relpath(out.resolve(), folder)}
    others = [model for model in content.get('Models') or [] if model['Name'] != entry['Name']]
    content['Models'] = [*others, entry]
    index.parent.mkdir(parents=True, exist_ok=True)
    index.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


if __name__ == '__main__':
    main()
