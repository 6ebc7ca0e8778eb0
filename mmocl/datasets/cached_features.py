from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmocl.datasets.feature_cache import CacheSettings, FeatureCache, cache_settings
from mmocl.registry import DATASETS, TRANSFORMS


@DATASETS.register_module()
class CachedFeatures(BaseDataset):
    """The tokens of a ``FeatureCache`` as a dataset, for training where the images are not.

    There is no ground truth. To test, use the data set itself with ``token_cache``.

    Args:
        cache: A folder of ``tools/cache_features.py``, or a dict with it as ``folder``, and the
            arguments ``verify`` and ``views`` of :class:`FeatureCache`.
        pipeline: Transforms, as configs or callables.
        test_mode: Whether only the view ``'center'`` is used; else every access draws one.
        indices: Keep these images only; an int n means the first n.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it is not finished, damaged, of another version, or lacks a view.
    """

    METAINFO: dict = {'dataset_type': 'CachedFeatures'}  # noqa: RUF012

    def __init__(
        self,
        cache: CacheSettings,
        pipeline: Sequence[dict | Callable] = ({'type': 'PackSlotInputs'},),
        test_mode: bool = False,
        indices: int | Sequence[int] | None = None,
    ) -> None:
        settings = cache_settings(cache, 'cache', 'verify', 'views')
        if test_mode:
            settings['views'] = ['center']
        self.feature_cache = FeatureCache(**settings)
        steps = [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline]
        super().__init__(pipeline=steps, test_mode=test_mode, indices=indices)
        print_log(
            f'CachedFeatures: {len(self)} images of {Path(settings["folder"])}', logger='current'
        )

    def load_data_list(self) -> list[dict]:
        """One entry an image: its name in the cache as id."""
        return [{'img_id': name} for name in self.feature_cache.names]

    def prepare_data(self, idx: int) -> dict[str, Any]:
        """Run the pipeline on the tokens of an image.

        Args:
            idx: Position in the dataset.

        Returns:
            ``inputs`` and ``data_samples``.
        """
        info = self.get_data_info(idx)
        view = self.feature_cache.draw_view()
        info['tokens'] = self.feature_cache.tokens(info['img_id'], view)
        info['ori_shape'] = self.feature_cache.file_shape(info['img_id'])
        return self.pipeline(info)
