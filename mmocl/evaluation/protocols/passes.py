"""Several presets in as few passes over the images as their inputs allow."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmocl.evaluation.protocols.mask_protocol import ModelInput
from mmocl.evaluation.protocols.presets import get_protocol


def protocol_passes(cfg: Config, names: Sequence[str], record_dir: str | Path) -> list[Config]:
    """Configs that test a model under presets, one for each input that the model must be shown.

    Every preset becomes an ``ObjectDiscoveryMetric`` with its name as the prefix, and with the
    other arguments of the config's own one. They replace all evaluators of the config. A run of
    mmsegmentation on a ``SlotSegDataset`` shows whole images: presets with ``crop='squash'``.

    Args:
        cfg: Config of a run; its test pipeline is changed where a preset wants another input.
        names: Names of presets.
        record_dir: Folder for the records of every preset, ``<name>.json``.

    Returns:
        Changed copies, in the order in which their inputs are first named.

    Raises:
        ValueError: If a preset is unknown or named twice, or the pipeline cannot show its input.
    """
    protocols = [get_protocol(name) for name in names]
    if len({protocol.name for protocol in protocols}) != len(names) or not names:
        raise ValueError(f'expected one protocol or more, each once, got {list(names)}')
    dataset = cfg.test_dataloader.dataset
    own = _discovery(cfg.get('test_evaluator', []), _is_mmseg(dataset))
    shown = _shown(dataset)
    groups: dict[ModelInput, list[dict[str, Any]]] = {}
    for protocol in protocols:
        name, wanted = protocol.name, protocol.model_input
        if shown is not None:
            # What the preset leaves open is as the config has it.
            wanted = ModelInput(wanted.crop, wanted.size or shown.size, wanted.frame or shown.frame)
        record = str(Path(record_dir, f'{name}.json'))
        metric = {**own, 'protocol': name, 'prefix': name, 'record_path': record}
        groups.setdefault(wanted, []).append(metric)
    passes = []
    for wanted, metrics in groups.items():
        changed = copy.deepcopy(cfg)
        changed.test_evaluator = metrics
        if wanted != shown:
            _show(changed.test_dataloader.dataset, wanted, metrics[0]['protocol'])
        passes.append(changed)
    return passes


def _is_mmseg(dataset: dict) -> bool:
    """Whether the pipeline of a dataset is one of mmsegmentation."""
    return dataset['type'].split('.')[-1] == 'SlotSegDataset'


def _discovery(evaluators: dict | Sequence[dict], is_mmseg: bool) -> dict[str, Any]:
    """The config's own metric of this kind, or one with the masks that there are."""
    listed = [evaluators] if isinstance(evaluators, dict) else evaluators
    kind = 'ObjectDiscoveryMetric'
    own = [dict(e) for e in listed if e['type'].split('.')[-1] == kind]
    if own:
        return own[0]
    metric: dict[str, Any] = {'type': f'mmocl.{kind}'}
    return {**metric, 'mask_sources': ['segmentor']} if is_mmseg else metric


def _step(dataset: dict, kind: str) -> dict | None:
    """The transform of a type in the pipeline of a dataset, the last one."""
    steps = [step for step in dataset.get('pipeline', ()) if step['type'].split('.')[-1] == kind]
    return steps[-1] if steps else None


def _shown(dataset: dict) -> ModelInput | None:
    """What the pipeline shows the model; None if it leaves the images as they are."""
    if _is_mmseg(dataset):
        step = _step(dataset, 'Resize') or {}
        scale = step.get('scale') or ()
        sides = {scale} if isinstance(scale, int) else set(scale)
        is_square = len(sides) == 1 and not step.get('keep_ratio', False)
        return ModelInput('squash', sides.pop() if is_square else None, None)
    resize = _step(dataset, 'ResizeCrop')
    if resize is None:
        return None
    frame = (_step(dataset, 'LoadImage') or {}).get('frame')
    return ModelInput(
        resize.get('crop', 'center'), resize['size'], None if frame is None else tuple(frame)
    )


def _show(dataset: dict, wanted: ModelInput, name: str) -> None:
    """Change the pipeline."""
    if _is_mmseg(dataset):
        resize = _step(dataset, 'Resize')
        if wanted.crop != 'squash' or wanted.frame is not None or resize is None:
            raise ValueError(
                f'protocol {name!r} shows the model {_in_words(wanted)}, but mmsegmentation '
                f'predicts whole images and resizes them by Resize; expected a pipeline with it, '
                "and a protocol with crop=squash, such as square128 or 'spot320(crop=squash)'"
            )
        if wanted.size is not None:
            resize['scale'], resize['keep_ratio'] = (wanted.size, wanted.size), False
            resize.pop('scale_factor', None)
        return
    resize, load = _step(dataset, 'ResizeCrop'), _step(dataset, 'LoadImage')
    if resize is None or load is None:
        if wanted.size is None and wanted.frame is None:
            return  # All of the image, at the size that it has.
        raise ValueError(
            f'protocol {name!r} shows the model {_in_words(wanted)}, but the test pipeline of '
            f'{dataset["type"]} has no LoadImage and ResizeCrop that could do so'
        )
    if dataset.get('token_cache') is not None:
        raise ValueError(
            f'protocol {name!r} shows the model {_in_words(wanted)}, but the tokens of token_cache='
            f'{dataset["token_cache"]!r} were made of {_in_words(_shown(dataset))}; set '
            'test_dataloader.dataset.token_cache=None'
        )
    resize['crop'], resize['size'] = wanted.crop, wanted.size
    load['frame'] = wanted.frame


def _in_words(shown: ModelInput | None) -> str:
    if shown is None:
        return 'whole images'
    words = {'center': 'centre crops', 'squash': 'squashed images', 'random': 'random crops'}
    crop = words[shown.crop]
    size = 'of any size' if shown.size is None else f'of {shown.size}x{shown.size}'
    return f'{crop} {size}' + (f' of the frame {shown.frame}' if shown.frame else '')
