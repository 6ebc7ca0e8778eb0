from collections.abc import Callable, Iterable, Iterator, Sequence

from mmocl.apis.picture_pipeline import PicturePipeline
from mmocl.apis.pictures import Picture
from mmocl.structures import SlotDataSample

# A picture and what the model finds in it; None if it could not be read or shown.
Found = tuple[Picture, SlotDataSample | None]


def run_in_batches(
    pictures: Iterable[Picture],
    pipeline: PicturePipeline,
    run: Callable[[Sequence[dict]], Sequence[SlotDataSample]],
    batch_size: int,
) -> Iterator[Found]:
    """Run a model on pictures that follow each other and are shown in the same shape.

    Args:
        pictures: Pictures, or their errors.
        pipeline: How they are shown; its ``ValueError`` becomes the error of a picture.
        run: Predicts a batch of what the pipeline gives.
        batch_size: Most pictures of a batch.

    Returns:
        All pictures in their order.
    """
    waiting: list[tuple[Picture, bool]] = []
    shown: list[dict] = []
    for picture in pictures:
        data = None
        if picture.image is not None:
            try:
                data = pipeline(picture.image, picture.name, picture.path)
            except ValueError as error:  # a frame that does not lie in the picture
                picture = Picture(picture.name, picture.path, error=error)
        full = len(shown) == batch_size
        if shown and data and (full or data['inputs'].shape != shown[0]['inputs'].shape):
            yield from _run(waiting, shown, run)
            waiting, shown = [], []
        waiting.append((picture, data is not None))
        if data is not None:
            shown.append(data)
    yield from _run(waiting, shown, run)


def _run(
    waiting: Sequence[tuple[Picture, bool]],
    shown: Sequence[dict],
    run: Callable[[Sequence[dict]], Sequence[SlotDataSample]],
) -> Iterator[Found]:
    """Predict those pictures that could be shown."""
    samples = iter(run(shown) if shown else [])
    for picture, is_shown in waiting:
        yield picture, next(samples) if is_shown else None
