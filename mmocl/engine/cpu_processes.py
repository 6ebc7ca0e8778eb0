import atexit

import torch
from mmengine.config import Config
from torch import distributed


def start_cpu_processes(cfg: Config) -> None:
    """Let ``launcher='pytorch'`` work without an accelerator, over gloo.

    MMEngine's launcher asks CUDA for a device, and its model wrapper gets the number of one; both
    fail on a CPU. A process group that exists already and a wrapper without a device avoid this.
    Nothing is done where there is an accelerator, or for other launchers.

    Args:
        cfg: Config of the run; ``device_ids`` of its ``model_wrapper_cfg`` is set.
    """
    if cfg.launcher != 'pytorch' or torch.accelerator.is_available():
        return
    distributed.init_process_group('gloo')
    # Threads of a group that is still up at exit may abort the process.
    atexit.register(distributed.destroy_process_group)
    cfg.model_wrapper_cfg = {**cfg.get('model_wrapper_cfg', {}), 'device_ids': None}
