from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from mmengine.config import Config
from mmengine.dataset import Compose

from mmocl.datasets.transforms import LoadImage
from mmocl.models.size_multiple import size_multiple
from mmocl.registry import TRANSFORMS

FITS = ('aspect', 'config')
# Steps that give way to a picture that is there already.
_READERS = ('LoadImage', 'LoadPhoto')


class PicturePipeline:
    """Turn any picture into what a model takes, as the test pipeline of its config does, or whole.

    Args:
        cfg: Config with a ``test_dataloader``. ``LoadObjectMasks`` of its pipeline is left out, and
            ``LoadImage`` only cuts its ``frame``.
        model: The model of the config.
        fit: ``'config'`` does what the test pipeline does, by which scores are measured;
            ``'aspect'`` shows the whole picture, its short side as long as that pipeline's images,
            see :class:`ResizeWhole`. None: the latter where it works.

    Attributes:
        fit: ``'config'`` or ``'aspect'``, the one that is used.

    Raises:
        ValueError: If ``fit`` is unknown, or is ``'aspect'`` where the model takes one size only,
            the pipeline cuts a frame, or does not resize.
    """

    def __init__(self, cfg: Config, model: Any, fit: str | None = None) -> None:
        if fit is not None and fit not in FITS:
            raise ValueError(f'fit must be one of {FITS} or None, got {fit!r}')
        steps = _test_steps(cfg)
        readers = [step for step in steps if _kind(step) in _READERS]
        steps = [step for step in steps if _kind(step) not in _READERS]
        self._load = LoadImage(frame=next((step.get('frame') for step in readers), None))
        self.fit = 'config'
        if fit != 'config':
            try:
                steps = self._whole(steps, model)
                self.fit = 'aspect'
            except ValueError as error:
                if fit == 'aspect':
                    raise ValueError(
                        f"fit='aspect' cannot be had: {error}; fit='config' shows pictures as the "
                        'test pipeline of the config does'
                    ) from error
        self._steps = Compose([TRANSFORMS.build(step) for step in steps])

    def __call__(
        self, image: UInt8[np.ndarray, 'H W 3'], name: str, path: Path | None = None
    ) -> dict[str, Any]:
        """Return ``inputs`` and ``data_samples`` of a picture.

        Raises:
            ValueError: If a frame is to be cut that does not lie in the picture.
        """
        results = {'img_id': name, 'img': image, 'ori_shape': image.shape[:2]}
        results['img_path'] = name if path is None else str(path)
        self._load.cut(results)
        return self._steps(results)

    def _whole(self, steps: list[dict], model: Any) -> list[dict]:
        """Steps with the resize exchanged for one that keeps all of the picture."""
        if self._load.frame is not None:
            raise ValueError(
                f'the test pipeline cuts frame={self._load.frame} out of every file (LoadImage)'
            )
        sizes = [step for step in steps if _kind(step) in ('ResizeCrop', 'ResizeWhole')]
        if len(sizes) != 1:
            raise ValueError(
                'the test pipeline has no ResizeCrop whose size would say how long the short side '
                'is to be (test_dataloader.dataset.pipeline)'
            )
        whole = {
            'type': 'ResizeWhole',
            'size': sizes[0]['size'],
            'multiple': size_multiple(model),
            'interpolation': sizes[0].get('interpolation', 'bicubic'),
        }
        return [whole if step is sizes[0] else step for step in steps]


def _test_steps(cfg: Config) -> list[dict]:
    dataset = (cfg.get('test_dataloader') or {}).get('dataset')
    if not dataset:
        raise ValueError(
            'the config has no test_dataloader.dataset; expected one whose pipeline says how '
            'images are shown to the model'
        )
    pipeline = dataset.get('pipeline')
    if pipeline is None:
        # Generated data has no pipeline: squash a picture to its size.
        size = dataset.get('image_size', 64)
        pipeline = [
            {'type': 'ResizeCrop', 'size': size, 'crop': 'squash'},
            {'type': 'PackSlotInputs'},
        ]
    return [step for step in pipeline if _kind(step) != 'LoadObjectMasks']


def _kind(step: dict) -> str:
    """Name of a step without its scope."""
    return str(step['type']).rpartition('.')[2]
