import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.config import Config
from torch import distributed


@contextmanager
def cpu_processes(cfg: Config) -> Iterator[None]:
    """Let ``launcher='pytorch'`` work without an accelerator, over gloo.

    MMEngine's launcher asks CUDA for a device, and its model wrapper gets the number of one; both
    fail on a CPU. A process group that exists already and a wrapper without a device avoid this.
    Nothing is done where there is an accelerator, or for other launchers.

    Args:
        cfg: Config of the run; ``device_ids`` of its ``model_wrapper_cfg`` is set.
    """
    if cfg.launcher != 'pytorch' or torch.accelerator.is_available():
        yield
        return
    distributed.init_process_group('gloo')
    cfg.model_wrapper_cfg = {**cfg.get('model_wrapper_cfg', {}), 'device_ids': None}
    yield
    # Without this order of leaving, processes sometimes aborted at exit ('terminate called without
    # an active exception'); which thread was left over was not found out.
    gc.collect()
    distributed.barrier()
    distributed.destroy_process_group()
