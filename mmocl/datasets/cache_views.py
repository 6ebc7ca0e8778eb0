"""Pipelines of cached views of an image, and their transforms in a form that can be compared."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from typing import Any

from mmocl.registry import TRANSFORMS

VIEWS = ('center', 'flip', 'random')
# Steps of a pipeline that do not act on the image.
NO_IMAGE = ('LoadObjectMasks', 'PackSlotInputs')


def view_steps(pipeline: Sequence[dict | Callable], view: str) -> list[dict[str, Any]]:
    """Transforms that make one view of an image.

    What is random, its name has to say, as the names of MMCV's random transforms do: another one
    that draws numbers is taken for deterministic, and stays in every view.

    Args:
        pipeline: The pipeline of a dataset; only configs can be compared and thus cached.
        view: ``'center'`` leaves out steps named ``Random...`` and crops at the centre where the
            pipeline crops at random; ``'flip'`` is its mirror image; ``'random'`` is the pipeline
            as it is.

    Returns:
        Configs with all arguments, defaults too, as they come back from JSON.

    Raises:
        ValueError: If the view is unknown, the pipeline has other steps than configs, or nothing
            random for a random view.
    """
    if view not in VIEWS:
        raise ValueError(f'views must be of {VIEWS}, got {view!r}')
    steps = [complete_step(step) for step in pipeline]
    steps = [step for step in steps if step['type'] not in NO_IMAGE]
    if view == 'random':
        if not any(_is_random(step) for step in steps):
            raise ValueError(
                "the view 'random' needs a random step in the pipeline, such as RandomFlip or "
                f"ResizeCrop(crop='random'), got {[step['type'] for step in steps]}"
            )
        return steps
    steps = [step for step in steps if not step['type'].startswith('Random')]
    for step in steps:
        if _is_random(step):
            step['crop'] = 'center'
    if view == 'flip':
        steps.append(complete_step({'type': 'RandomFlip', 'prob': 1.0, 'direction': 'horizontal'}))
    return steps


def dropped_steps(pipeline: Sequence[dict | Callable], views: Sequence[str]) -> str | None:
    """Say which random steps of a pipeline do not run with a cache.

    Args:
        pipeline: Transforms, as configs.
        views: Names of the views that are drawn from.

    Returns:
        A sentence that names them, and the views that would bring them; None if all run.
    """
    if 'random' in views:
        return None
    dropped = [step for step in map(complete_step, pipeline) if _is_random(step)]
    more = ['random', 'random']
    if all(map(_mirrors, dropped)):
        more = ['flip']
    if 'flip' in views:
        dropped = [step for step in dropped if not _mirrors(step)]
    if not dropped:
        return None
    names = ', '.join(
        step['type'] if step['type'].startswith('Random') else f"{step['type']}(crop='random')"
        for step in dropped
    )
    wanted = ' '.join([*dict.fromkeys([*views, 'center']), *more])
    return (
        f'{names} of the pipeline will not run on cached tokens, whose views are {list(views)}; '
        f'tools/cache_features.py --views {wanted} makes more'
    )


def complete_step(step: dict | Callable) -> dict[str, Any]:
    """The config of a transform with its defaults, as it comes back from JSON.

    Raises:
        ValueError: If it is no config, or an argument is no plain value.
    """
    if not isinstance(step, dict):
        raise ValueError(
            f'a cache needs a pipeline of configs, which can be compared, got {type(step).__name__}'
        )
    arguments = dict(step)
    kind = arguments.pop('type')
    found = TRANSFORMS.get(kind) if isinstance(kind, str) else kind
    if found is None:
        raise ValueError(f'pipeline: there is no transform {kind!r}')
    bound = inspect.signature(found).bind(**arguments)
    bound.apply_defaults()
    try:
        plain = json.loads(json.dumps(bound.arguments))
    except TypeError as error:
        raise ValueError(
            f'pipeline: {kind} has an argument that a cache cannot compare ({error}); expected '
            'numbers, strings, lists and dicts'
        ) from error
    return {'type': found.__name__, **plain}


def _mirrors(step: dict[str, Any]) -> bool:
    """Whether the view ``'flip'`` stands for a random step."""
    return step['type'] == 'RandomFlip' and step.get('direction') == 'horizontal'


def _is_random(step: dict[str, Any]) -> bool:
    return step['type'].startswith('Random') or step.get('crop') == 'random'
