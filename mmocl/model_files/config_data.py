"""Configs as data: read from text or from JSON without running anything of them."""

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import mmengine.registry
from mmengine.config import Config
from mmengine.registry import Registry

from mmocl.require_module import require_module

# A tuple in JSON, which has none: constructors may tell it from a list.
_TUPLE = '__tuple__'
# What an inferencer reads of a config. The rest is kept in a file to be read by people.
_FOR_INFERENCE = ('default_scope', 'model', 'test_dataloader')
# MMEngine is the last one: importing the others registers layers of MMCV there.
_SCOPES = ('mmocl', 'mmcv', 'mmseg', 'mmengine')


def config_from_text(text: str) -> dict[str, Any]:
    """Read the text of a config that MMEngine has dumped, as in the ``meta`` of checkpoints.

    Such a text is nothing but assignments of plain values. MMEngine would run it as Python.

    Raises:
        ValueError: If there is anything else in it.
    """
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f'The config in the checkpoint is no Python: {error}.') from error
    config = {}
    for line in body:
        match line:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                config[name] = _literal(value)
            case _:
                raise _not_plain(line)
    return config


def _literal(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=items):
            return [_literal(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_literal(item) for item in items)
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {_literal(k): _literal(v) for k, v in zip(keys, values, strict=True) if k}
        case ast.Call(func=ast.Name(id='dict'), args=[], keywords=keywords):
            found: dict = {}
            for keyword in keywords:
                value = _literal(keyword.value)
                found |= value if keyword.arg is None else {keyword.arg: value}
            return found
        case _:
            raise _not_plain(node)


def _not_plain(node: ast.AST) -> ValueError:
    return ValueError(
        'The config in the checkpoint holds more than plain values, and is not run: line '
        f'{getattr(node, "lineno", "?")}, {ast.unparse(node)[:80]!r}. Give the config file.'
    )


def portable(value: Any) -> Any:
    """Plain values without the machine they come from: of absolute paths the last part is kept."""
    if isinstance(value, Mapping):
        return {key: portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(portable(item) for item in value)
    if isinstance(value, str):
        kinds: tuple[type[PurePath], ...] = (PurePosixPath, PureWindowsPath)
        for kind in kinds:
            if kind(value).is_absolute():
                return kind(value).name
    return value


def config_to_json(config: Mapping[str, Any]) -> Any:
    """Values of a config as those of JSON; tuples are marked.

    Raises:
        ValueError: If a value is not plain.
    """
    return _to_json(config, 'config')


def _to_json(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key == _TUPLE:
                raise ValueError(f'{where} has the key {key!r}; a file keeps names only.')
        return {key: _to_json(item, f'{where}.{key}') for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_to_json(item, f'{where}[{i}]') for i, item in enumerate(value)]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    if value is None or isinstance(value, str | bool | int | float):
        json.dumps(value, allow_nan=False)
        return value
    raise ValueError(
        f'{where} is a {type(value).__name__}; a file keeps numbers, text, lists and dicts only.'
    )


def config_from_json(value: Any) -> Any:
    """The config that :func:`config_to_json` was given.

    Raises:
        TypeError: If what is marked as a tuple is no list.
    """
    if isinstance(value, dict):
        if value.keys() == {_TUPLE}:
            if not isinstance(value[_TUPLE], list):
                raise TypeError(f'a tuple of {value[_TUPLE]!r}')
            return tuple(config_from_json(item) for item in value[_TUPLE])
        return {key: config_from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [config_from_json(item) for item in value]
    return value


def inference_config(config: Mapping[str, Any], name: str) -> Config:
    """What an inferencer needs of a config that came inside a file of weights.

    MMEngine would import and call any function of Python that a ``type`` names; here only what is
    registered may be named, no file of Python, and neither another config, which could name both,
    nor a model to be downloaded.

    Args:
        config: Plain values.
        name: The file, for messages.

    Raises:
        ImportError: If it names mmsegmentation, which is not installed.
        ValueError: If the config has no model, or names something else.
    """
    kept = {key: config[key] for key in _FOR_INFERENCE if key in config}
    if not isinstance(kept.get('model'), dict) or 'type' not in kept['model']:
        raise ValueError(f'The config in {name} has no model; give the config file too.')
    match kept.get('test_dataloader'):
        case None | {'dataset': {'pipeline': list() | tuple()}}:
            pass
        case {'dataset': dict() as dataset} if 'pipeline' not in dataset:
            pass
        case other:
            raise ValueError(
                f'The config in {name} has test_dataloader={str(other)[:80]!r}, expected a dict '
                'with a dataset whose pipeline is a list; give the config file too.'
            )
    if kept.get('default_scope', 'mmocl') not in _SCOPES:
        raise ValueError(
            f'The config in {name} wants default_scope={kept["default_scope"]!r}, expected one of '
            f'{_SCOPES}; give the config file too.'
        )
    parts = list(_parts(kept, 'config'))
    if kept.get('default_scope') == 'mmseg' or any(_names_mmseg(part) for _, part in parts):
        # Only then, since it takes long. Its registries are not there before.
        require_module('mmseg.registry', 'segmentation', wanted_by=f'The config in {name}')
    registered = {scope: set(_registered(scope)) for scope in _SCOPES}
    for where, part in parts:
        for key in ('type', '_scope_'):
            if key in part and not _is_known(key, part[key], registered):
                raise ValueError(
                    f'The config in {name} wants {where}.{key}={part[key]!r}, which is not '
                    'registered. If it is your own, import its module first; or give the config '
                    'file too.'
                )
        for key, value in part.items():
            if isinstance(value, str) and (kind := _elsewhere(key, value)):
                raise ValueError(
                    f'The config in {name} wants {kind} {where}.{key}={value!r}, which is not '
                    'read; give the config file too.'
                )
    return Config(kept)


def _elsewhere(key: str, value: str) -> str | None:
    """What a value names that is not in the file and could run code; None if it is nothing such."""
    if value.lower().endswith('.py'):
        return 'the Python file'
    if key == 'model':  # of a SlotBackbone; YAML and JSON may have a _base_ of Python
        return 'the config file'
    if key == 'model_name' and ':' in value:  # timm's hf-hub: and local-dir:
        return 'a model from elsewhere,'
    if key == 'checkpoint_path' and value:  # of mmseg's TIMMBackbone: a pickle, read as one
        return 'a file of weights,'
    return None


def _is_known(key: str, value: Any, registered: Mapping[str, set[str]]) -> bool:
    if not isinstance(value, str):
        return False
    if key == '_scope_':
        return value in registered
    scope, _, name = value.rpartition('.')
    if scope:
        return name in registered.get(scope, set()) | registered['mmengine']
    return any(name in names for names in registered.values())


def _names_mmseg(part: Mapping[str, Any]) -> bool:
    return part.get('_scope_') == 'mmseg' or str(part.get('type')).startswith('mmseg.')


def _registered(scope: str) -> Iterator[str]:
    """Names in all registries of a library, if it is imported."""
    for root in vars(mmengine.registry).values():
        if isinstance(root, Registry):
            registry = root if scope == 'mmengine' else root.children.get(scope)
            if registry is not None:
                registry.import_from_location()
                yield from registry.module_dict


def _parts(value: Any, where: str) -> Iterator[tuple[str, dict]]:
    """All dicts in a config, with their places."""
    if isinstance(value, dict):
        yield where, value
        for key, item in value.items():
            yield from _parts(item, f'{where}.{key}')
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _parts(item, f'{where}[{i}]')
