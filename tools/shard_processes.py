"""Processes that write the shards of a cache, each some of them."""

from __future__ import annotations

import multiprocessing as mp
import os
import queue
import shutil
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from cache_tool import in_words
from mmengine.utils import ProgressBar
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmocl.datasets.shards import ShardPlan, ShardWriter, write_shard
from mmocl.datasets.transforms import CorruptImageError

# Turns the batches of a shard into its tensors.
Make = Callable[[Iterable[list[Any]]], dict[str, Tensor]]


def write_shards(
    writer: ShardWriter,
    dataset: Dataset,
    start: Callable[..., Make],
    arguments: Sequence[Any],
    batch_size: int,
    num_processes: int,
    num_workers: int,
    image_bytes: float,
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
        image_bytes: Expected bytes of an image in the cache.

    Raises:
        OSError: If a shard cannot be written.
        ValueError: If an image is corrupt, or the disk too small.
        RuntimeError: If a process ends early.
    """
    pending = writer.pending()
    todo = sum(len(writer.plan.rows(shard)) for shard in pending)
    total = len(writer.plan.names)
    if total > todo:
        print(f'{total - todo} of {total} images are in {writer.folder} already.')
    if pending:
        _require_space(writer.folder, todo * image_bytes)
        task = (writer.folder, writer.plan, dataset, start, arguments, batch_size, num_workers)
        parts = [pending[i::num_processes] for i in range(min(num_processes, len(pending)))]
        bar = ProgressBar(todo)
        try:
            if len(parts) == 1:
                _work(0, parts[0], task, bar.update)
            else:
                _supervise(task, parts, bar)
        finally:
            print()  # behind the bar
    writer.finish()


def corrupt_image(error: CorruptImageError) -> CorruptImageError:
    """What to say of an image that cannot be cached."""
    # Training replaces such an image by another one, which would be cached under its name.
    return CorruptImageError(
        f'{error}. A cache has no place for a corrupt image: repair it, or remove it from the '
        'split and give --out a new folder'
    )


def _require_space(folder: Path, num_bytes: float) -> None:
    free = shutil.disk_usage(folder).free
    print(f'About {in_words(num_bytes)} to write, {in_words(free)} free at {folder}.')
    if num_bytes > free:
        raise ValueError(
            f'about {in_words(num_bytes)} have to be written, but the disk of {folder} has '
            f'{in_words(free)} free'
        )


def _supervise(task: tuple, parts: Sequence[Sequence[int]], bar: ProgressBar) -> None:
    """Run a process for every part and wait."""
    context = mp.get_context('spawn')
    messages = context.Queue()
    processes = [
        context.Process(target=_process, args=(i, part, task, messages, os.getpid()))
        for i, part in enumerate(parts)
    ]
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
            if what == 'refused':
                raise ValueError(value)
            if what == 'images':
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


def _process(number: int, shards: Sequence[int], task: tuple, messages: Any, parent: int) -> None:
    """Body of a spawned process."""

    def report(num_images: int) -> None:
        if os.getppid() != parent:
            os._exit(1)  # Nobody is left to work for, and another run may have begun.
        messages.put(('images', num_images))

    try:
        _work(number, shards, task, report)
        messages.put(('end', number))
    except (CorruptImageError, OSError) as error:
        messages.put(('refused', str(error)))
    except Exception:
        messages.put(('error', traceback.format_exc()))


def _work(number: int, shards: Sequence[int], task: tuple, report: Callable[[int], Any]) -> None:
    """Make some shards."""
    folder: Path
    plan: ShardPlan
    folder, plan, dataset, start, arguments, batch_size, num_workers = task
    make = start(number, *arguments)
    batches = {
        shard: [list(rows[i : i + batch_size]) for i in range(0, len(rows), batch_size)]
        for shard, rows in ((shard, plan.rows(shard)) for shard in shards)
    }
    loader = iter(
        DataLoader(
            dataset,
            batch_sampler=list(chain.from_iterable(batches.values())),
            num_workers=num_workers,
            collate_fn=list,
        )
    )

    def load(num_batches: int) -> Iterator[list[Any]]:
        for batch in islice(loader, num_batches):
            for item in batch:
                if isinstance(item, CorruptImageError):
                    raise corrupt_image(item)
            yield batch
            report(len(batch))

    for shard in shards:
        write_shard(folder, plan, shard, make(load(len(batches[shard]))))
