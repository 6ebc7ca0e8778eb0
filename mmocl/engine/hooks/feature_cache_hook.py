from collections.abc import Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmocl.models.model_key import model_key
from mmocl.registry import HOOKS


@HOOKS.register_module()
class FeatureCacheHook(Hook):
    """Refuse cached tokens that the run's own backbone would not give.

    Compares the backbone's settings and weights and the normalisation of images with those that a
    cache was made with. Nothing happens without a cache.

    Args:
        strict: Whether to refuse; if not, a warning says what differs.

    Raises:
        ValueError: If something differs; what, is named.
    """

    def __init__(self, strict: bool = True) -> None:
        self.strict = strict
        self._key: dict[str, Any] | None = None

    def before_train(self, runner: Runner) -> None:
        """Check the training set."""
        self._check(runner, runner.train_dataloader.dataset)

    def before_val(self, runner: Runner) -> None:
        """Check the validation set."""
        self._check(runner, runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Check the test set."""
        self._check(runner, runner.test_dataloader.dataset)

    def _check(self, runner: Runner, dataset: Any) -> None:
        for cache in feature_caches(dataset):
            try:
                cache.require_model(self._model_key(runner))
            except ValueError as error:
                if self.strict:
                    raise
                runner.logger.warning(str(error))

    def _model_key(self, runner: Runner) -> dict[str, Any]:
        """Key of the model, made once a run: the weights are frozen."""
        if self._key is None:
            model: Any = runner.model
            model = model.module if is_model_wrapper(model) else model
            self._key = model_key(model.backbone, model.data_preprocessor)
        return self._key


def feature_caches(dataset: Any) -> Iterator[Any]:
    """Caches that a dataset reads, and those of datasets that it wraps."""
    cache = getattr(dataset, 'feature_cache', None)
    if cache is not None:
        yield cache
    # MMEngine's and PyTorch's wrappers, and what MMEngine makes of num_batch_per_epoch.
    for name in ('dataset', '_dataset'):
        if hasattr(dataset, name):
            yield from feature_caches(getattr(dataset, name))
    for inner in getattr(dataset, 'datasets', ()):
        yield from feature_caches(inner)
