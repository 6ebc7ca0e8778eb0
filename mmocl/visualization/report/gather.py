"""Gather all of a report page from a work dir."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.device import get_device

from mmocl.structures import SlotDataSample
from mmocl.version import __version__
from mmocl.visualization.report import curves as log
from mmocl.visualization.report import scores as scored
from mmocl.visualization.report.commands import protocols_of, score_command, train_command
from mmocl.visualization.report.content import (
    Collapse,
    Curve,
    GalleryImage,
    Missing,
    Report,
    ScoreTable,
)
from mmocl.visualization.report.diagnose import collapse_values, diagnosis, recorded_values
from mmocl.visualization.report.gallery import (
    build_data,
    build_model,
    colors_of,
    gallery_image,
    look,
    other_images,
    shows_updates,
)
from mmocl.visualization.report.run_files import RunFiles, find_run
from mmocl.visualization.report.scores import ScoreFile
from mmocl.visualization.report.selection import Choice, choose, how_chosen
from mmocl.visualization.report.summary import differences, facts, find_shipped, model_line

Results = dict[str, float | None]
Progress = Callable[[Sequence[Choice]], Iterable[Choice]]


def gather(
    work_dir: str | Path,
    checkpoint: str | Path | None = None,
    scores: str | Path | None = None,
    num_images: int = 12,
    device: str | None = None,
    options: dict[str, Any] | None = None,
    configs: str | Path | None = None,
    progress: Progress = iter,
) -> Report:
    """Read a work dir, and run the model on some test images.

    What is not there is named on the page, with the command that would give it.

    Args:
        work_dir: Work dir of a training.
        checkpoint: A checkpoint instead of the last one.
        scores: A file of ``tools/test.py --out`` instead of the newest one in the work dir.
        num_images: Images of the gallery; 0 runs no model.
        device: Device of the model; the best one if not given.
        options: Settings of the config to override.
        configs: Folder of shipped configs, to say in what the run differs.
        progress: What goes through the images, such as a progress bar.

    Raises:
        FileNotFoundError: If the folder, the checkpoint or the scores are missing.
        ValueError: If the folder holds no run, a file of it is broken, the checkpoint does not fit,
            or the given scores are of another run.
    """
    if num_images < 0:
        raise ValueError(f'--num-images must be at least 0, got {num_images}')
    run = find_run(work_dir, checkpoint)
    shipped = None if configs is None else find_shipped(run.name, Path(configs))
    changed = [] if shipped is None else differences(run.config, shipped)
    if options:
        run.config.merge_from_dict(options)
    missing: dict[str, list[Missing]] = {}
    starts = [log.read_scalars(part.scalars) for part in run.trainings if part.scalars]
    lines = log.merge(starts)
    if not lines:
        why = 'there is no <timestamp>/vis_data/scalars.json with values in the work dir'
        missing['curves'] = [Missing('Curves', why, train_command(run))]
    file = _score_file(run, scores, missing)
    tables, others, results, scores_note = _tables(run, file, lines)
    images, seen, gallery_note = _gallery(run, file, num_images, device, progress, missing)
    window = (run.config.get('log_processor') or {}).get('window_size')
    return Report(
        title=run.name,
        subtitle=model_line(run.config.model),
        facts=facts(run, lines, None if file is None else file.content),
        config=run.config.pretty_text,
        differences=changed,
        charts=log.charts(lines),
        curves_note=f'Training values are means of the last {window} iterations.' if window else '',
        tables=tables,
        other_scores=others,
        scores_note=scores_note,
        images=images,
        gallery_note=gallery_note,
        colors=colors_of(images),
        collapse=_collapse(results, seen, missing),
        missing=missing,
        made_by={'mmocl': __version__},
    )


def _score_file(
    run: RunFiles, given: str | Path | None, missing: dict[str, list[Missing]]
) -> ScoreFile | None:
    """The scores of the run; those of another one are an error only if they were asked for."""
    if given is not None:
        file = scored.read_scores(given)
        if odd := scored.not_of_run(file, run):
            raise ValueError(f'--scores {given} are not of this run: {"; ".join(odd)}')
        return file
    others = []
    for path in scored.find_scores(run.work_dir):
        file = scored.read_scores(path)
        odd = scored.not_of_run(file, run)
        if not odd:
            return file
        others.append(f'{path.name} is of {"; ".join(odd)}')
    why = '; '.join(others) or 'no file of tools/test.py --out is in the work dir'
    evaluators = run.config.get('test_evaluator')
    protocols = protocols_of(evaluators)
    if evaluators and not protocols:
        missing['scores'] = [Missing('Scores of every image', 'the config scores no masks')]
    else:
        missing['scores'] = [Missing('Scores of every image', why, score_command(run, protocols))]
    return None


def _tables(
    run: RunFiles, file: ScoreFile | None, lines: Mapping[str, Curve]
) -> tuple[list[ScoreTable], Results, Results, str]:
    """Tables, results without a table, all results, and what they are of."""
    if file is not None:
        return (
            scored.tables(file),
            scored.other_scores(file),
            file.content['metrics'],
            f'From {file.path.name}, of {Path(file.content["checkpoint"]).name}.',
        )
    for found, key in (
        (scored.last_test(run), 'test_evaluator'),
        (scored.last_validation(lines), 'val_evaluator'),
    ):
        if found is not None:
            results, what = found
            names = protocols_of(run.config.get(key))
            protocol = ', '.join(names) if names else 'none'
            caption = f'{what}. Protocol in the config of the run: {protocol}.'
            tables, others = scored.plain_tables(results, caption)
            return tables, others, results, '' if tables else caption
    return [], {}, {}, ''


def _gallery(
    run: RunFiles,
    file: ScoreFile | None,
    num_images: int,
    device: str | None,
    progress: Progress,
    missing: dict[str, list[Missing]],
) -> tuple[list[GalleryImage], list[SlotDataSample], str]:
    """Pictures of the chosen images, the predictions, and how they were chosen."""

    def lacking(why: str, command: str | None = None) -> tuple[list, list, str]:
        missing['gallery'] = [Missing('Pictures', why, command)]
        return [], [], ''

    if not num_images:
        return lacking('no images were asked for (--num-images 0)')
    if run.checkpoint is None:
        return lacking('there is no checkpoint in the work dir', train_command(run))
    if not shows_updates(run.config):
        kind = run.config.model.type
        return lacking(f'models of type {kind} give no attention of every update')
    try:
        loader, data = build_data(run.config)
    except (OSError, ValueError, KeyError, ImportError) as error:
        return lacking(f'the test data cannot be read: {_reason(error)}')
    try:
        model = build_model(run.config, str(run.checkpoint), device or get_device())
    except (KeyError, ImportError) as error:
        return lacking(f'the model cannot be built: {_reason(error)}')
    prefix, choices, why = _choices(file, data, num_images)
    if why:
        missing['gallery'] = [Missing('Scores of these images', why)]
    seen = look(model, data, choices, progress)
    pictures = [gallery_image(choice, *pair) for choice, pair in zip(choices, seen, strict=True)]
    for image in pictures:
        if image.no_truth:
            lacks = Missing(f'True objects of image {image.name}', image.no_truth)
            missing.setdefault('gallery', []).append(lacks)
    return pictures, [sample for _, sample in seen], how_chosen(loader, choices, prefix)


def _reason(error: Exception) -> str:
    """The message of an error; a KeyError would quote it."""
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def _choices(file: ScoreFile | None, data: Any, wanted: int) -> tuple[str, list[Choice], str]:
    """By which score images are chosen, which, and why not by the one there is."""
    if file is None or not file.records:
        return '', choose(len(data), wanted, None, None), ''
    prefix, record = next(iter(file.records.items()))
    score, images = scored.main_score(record), record['images']
    choices = choose(len(data), wanted, images, score) if len(images) == len(data) else []
    why = (
        other_images(data, choices)
        if choices
        else f'{len(images)} images are scored, but the data has {len(data)}'
    )
    if why is None:
        return f'{score} under {prefix}', choices, ''
    return '', choose(len(data), wanted, None, None), f'{prefix} of {file.path.name}: {why}'


def _collapse(
    results: Results, samples: Sequence[SlotDataSample], missing: dict[str, list[Missing]]
) -> Collapse | None:
    """Signs of collapse, of all test images if they were looked at, else of the gallery."""
    recorded = recorded_values(results)
    if recorded:
        count = recorded.get('num_images')
        where = 'test images' if count is None else f'{count:.0f} test images'
        return diagnosis(recorded, f'CollapseMetric over {where}.')
    if len(samples) < 2:
        why = 'it takes two pictures or more, or results of CollapseMetric in the scores'
        missing['collapse'] = [Missing('Signs of collapse', why)]
        return None
    where = (
        f'CollapseMetric over the {len(samples)} images above: too few, and too hand-picked, for '
        'more than a hint. All test images are looked at with dict(type="CollapseMetric") in '
        'test_evaluator.'
    )
    return diagnosis(collapse_values(samples), where)
