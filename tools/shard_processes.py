"""Processes that write the shards of a cache, each some of them."""

from __future__ import annotations

import multiprocessing as mp
import os
import queue
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mmengine.utils import ProgressBar
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmocl.datasets import ObjectDataset
from mmocl.datasets.shards import ShardPlan, ShardWriter
from mmocl.datasets.shards.shard_writer import write_plan_shard
from mmocl.datasets.transforms import CorruptImageError
from mmocl.registry import DATASETS

# Names in a message.
_MOST_NAMES = 10

# Turns the batches of a shard into its tensors.
Make = Callable[[Iterable[list[Any]]], dict[str, Tensor]]


def image_files(settings: dict[str, Any], key: str) -> ObjectDataset:
    """The data set of a config with nothing but its list of images.

    Raises:
        ValueError: If it is none of image files with a pipeline.
    """
    bare = {'pipeline': [], 'test_mode': False, 'token_cache': None, 'image_cache': None}
    source = DATASETS.build({**settings, **bare}) if 'pipeline' in settings else None
    if not isinstance(source, ObjectDataset):
        raise ValueError(
            f'{key} must be a data set of image files with a pipeline, such as CocoObjects, got '
            f'{settings["type"]}.'
        )
    return source


def write_shards(
    writer: ShardWriter,
    dataset: Dataset,
    start: Callable[..., Make],
    arguments: Sequence[Any],
    batch_size: int,
    num_processes: int,
    num_workers: int,
) -> None:
    """Make what a folder lacks, and finish it.

    Args:
        writer: The folder.
        dataset: Items by number of the image; in place of a corrupt one its error.
        start: Called once a process with its number and ``arguments``, gives what makes the tensors
            of a shard from its batches. A function of a module, since processes are spawned.
        arguments: What can be pickled.
        batch_size: Images a batch; a batch never holds images of two shards.
        num_processes: How many processes; one works in this process.
        num_workers: Loading processes each.

    Raises:
        ValueError: If images are corrupt.
        RuntimeError: If a process ends early.
    """
    pending = writer.pending()
    todo = sum(len(writer.plan.rows(shard)) for shard in pending)
    total = len(writer.plan.names)
    if total > todo:
        print(f'{total - todo} of {total} images are in {writer.folder} already.')
    if pending:
        task = (writer.folder, writer.plan, dataset, start, arguments, batch_size, num_workers)
        parts = [pending[i::num_processes] for i in range(min(num_processes, len(pending)))]
        bar = ProgressBar(todo)
        if len(parts) == 1:
            corrupt: list[str] = []
            _work(0, parts[0], task, bar.update, corrupt.extend)
        else:
            corrupt = _supervise(task, parts, bar)
        print()
        if corrupt:
            # Training replaces such an image by another one, which would be cached under its name.
            raise ValueError(
                f'{len(corrupt)} images are corrupt; remove them from the split, and cache the '
                f'others: {"; ".join(sorted(corrupt)[:_MOST_NAMES])}'
            )
    writer.finish()


def _supervise(task: tuple, parts: Sequence[Sequence[int]], bar: ProgressBar) -> list[str]:
    """Run a process for every part and wait; corrupt images."""
    context = mp.get_context('spawn')
    messages = context.Queue()
    processes = [
        context.Process(target=_process, args=(i, part, task, messages, os.getpid()))
        for i, part in enumerate(parts)
    ]
    corrupt: list[str] = []
    try:
        for process in processes:
            process.start()
        ended: set[int] = set()
        while len(ended) < len(processes):
            # Looked at before the queue, which may still hold what it said before it ended.
            codes = {i: p.exitcode for i, p in enumerate(processes) if i not in ended}
            dead = [i for i, code in codes.items() if code is not None]
            try:
                what, value = messages.get(timeout=0.5)
            except queue.Empty:
                if dead:
                    raise RuntimeError(
                        f'process {dead[0]} ended early, with exit code {codes[dead[0]]}. '
                        'Whole shards are kept: the same command makes the others'
                    ) from None
                continue
            if what == 'error':
                raise RuntimeError(f'a process failed; whole shards are kept:\n{value}')
            if what == 'corrupt':
                corrupt += value
            elif what == 'images':
                bar.update(value)
            else:
                ended.add(value)
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
        for process in processes:
            if process.pid is not None:
                process.join()
    return corrupt


def _process(number: int, shards: Sequence[int], task: tuple, messages: Any, parent: int) -> None:
    """Body of a spawned process."""

    def report(num_images: int) -> None:
        if os.getppid() != parent:
            os._exit(1)  # Nobody is left to work for, and another run may have begun.
        messages.put(('images', num_images))

    try:
        _work(number, shards, task, report, lambda found: messages.put(('corrupt', found)))
        messages.put(('end', number))
    except Exception:
        messages.put(('error', traceback.format_exc()))


def _work(
    number: int,
    shards: Sequence[int],
    task: tuple,
    report: Callable[[int], Any],
    report_corrupt: Callable[[list[str]], Any],
) -> None:
    """Make some shards."""
    folder: Path
    plan: ShardPlan
    folder, plan, dataset, start, arguments, batch_size, num_workers = task
    make = start(number, *arguments)
    batches = [
        list(plan.rows(shard)[i : i + batch_size])
        for shard in shards
        for i in range(0, len(plan.rows(shard)), batch_size)
    ]
    loader = iter(
        DataLoader(dataset, batch_sampler=batches, num_workers=num_workers, collate_fn=list)
    )
    for shard in shards:
        corrupt: list[str] = []

        def whole(shard: int = shard, corrupt: list[str] = corrupt) -> Iterable[list[Any]]:
            """Batches of a shard, as long as none of its images is corrupt."""
            for _ in range(0, len(plan.rows(shard)), batch_size):
                batch = next(loader)
                corrupt += [str(item) for item in batch if isinstance(item, CorruptImageError)]
                if not corrupt:
                    yield batch
                report(len(batch))

        tensors = make(whole())
        if corrupt:
            report_corrupt(corrupt)
        else:
            write_plan_shard(folder, plan, shard, tensors)
