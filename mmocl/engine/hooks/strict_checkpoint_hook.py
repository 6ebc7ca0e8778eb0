from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmocl.models.checkpoint import model_of, require_fit
from mmocl.registry import HOOKS


@HOOKS.register_module()
class StrictCheckpointHook(Hook):
    """Refuse a checkpoint of another architecture, in tests and when training resumes.

    Take the hook out of ``custom_hooks`` to load a part of a model on purpose.

    Raises:
        ValueError: If keys are missing or unexpected, or shapes differ.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare before MMEngine copies what fits."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        weights = checkpoint.get('state_dict', checkpoint)
        path = getattr(checkpoint, 'path', None)
        name = 'The checkpoint' if path is None else f'Checkpoint {path}'
        require_fit(model, weights, f'{name} does not fit {model_of(runner.cfg)}')
