"""MMEngine's training loop with all its hooks against a bare loop over the same model and data.

Both train Slot Attention on the same sprites, which lie in memory, in batches that take about 50 ms
on a CPU core. The bare loop does what training needs and nothing else: load, normalise, forward,
loss, backward, clip, update. MMEngine's has schedulers, timers, logs and all default hooks besides.
It is a whole run of the Runner, which a hook interrupts after every 20 iterations for as many of
the bare loop.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader

from benchmarks.measure import Setting, seconds, spread
from mmocl.registry import DATASETS, MODELS

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs/slot_attention/slot_attention_conv_sprites.py'
ITERATIONS = 20
BATCH_SIZE = 12
NUM_IMAGES = 96


class Turns(Hook):
    """Measures the Runner's iterations, and in turn with them those of another loop."""

    priority = 'LOWEST'

    def __init__(self, other: Callable[[], None], device: str, length: int) -> None:
        self.other = other
        self.device = device
        self.length = length
        self.start = 0.0
        self.samples: dict[str, list[float]] = {'bare loop': [], 'MMEngine loop': []}

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any | None = None,
        outputs: dict | None = None,
    ) -> None:
        """End a turn."""
        if not self.every_n_train_iters(runner, self.length):
            return
        self._wait()
        now = time.perf_counter()
        if batch_idx >= self.length:  # The first turn warms up.
            self.samples['MMEngine loop'].append((now - self.start) / self.length)
        value = seconds(self.other, self.device) / self.length
        if batch_idx >= self.length:
            self.samples['bare loop'].append(value)
        self._wait()
        self.start = time.perf_counter()

    def _wait(self) -> None:
        if self.device == 'cuda':
            torch.cuda.synchronize()


def run(setting: Setting) -> list[dict[str, Any]]:
    """Compare both loops."""
    length = 2 if setting.tiny else ITERATIONS
    with tempfile.TemporaryDirectory() as folder, DefaultScope.overwrite_default_scope('mmocl'):
        cfg = Config.fromfile(CONFIG)
        data = cfg.train_dataloader
        data.update(batch_size=2 if setting.tiny else BATCH_SIZE)
        data.dataset.num_images = 2 * data.batch_size if setting.tiny else NUM_IMAGES
        drawn = DATASETS.build(data.dataset)
        images = [drawn[i] for i in range(len(drawn))]
        bare = bare_loop(cfg, Runner.build_dataloader({**data, 'dataset': images}), setting, length)
        turns = Turns(bare, setting.device, length)
        # The lines of the log are made and written to its file, but not shown.
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            runner = Runner(
                model=cfg.model,
                work_dir=folder,
                train_dataloader={**data, 'dataset': images},
                train_cfg={
                    **cfg.train_cfg,
                    'max_iters': length * (setting.repeats + 1),
                    'val_interval': 10**6,
                },
                optim_wrapper={**cfg.optim_wrapper, 'type': 'OptimWrapper'},
                param_scheduler={'type': 'ConstantLR', 'by_epoch': False, 'factor': 1.0},
                default_hooks=cfg.default_hooks,
                custom_hooks=[*cfg.custom_hooks, turns],
                env_cfg=cfg.env_cfg,
                visualizer=cfg.visualizer,
                log_processor=cfg.log_processor,
                randomness={'seed': setting.seed},
                default_scope='mmocl',
                experiment_name=Path(folder).name,
            )
            runner.train()
    rows = []
    for name, samples in turns.samples.items():
        pairs = zip(turns.samples['bare loop'], samples, strict=True)
        rows.append(
            {
                'form': name,
                'faster': spread(bare / mine for bare, mine in pairs),
                'an_iteration_seconds': spread(samples),
                'iterations_per_second': spread(1 / value for value in samples),
            }
        )
    return rows


def bare_loop(cfg: Config, loader: DataLoader, setting: Setting, count: int) -> Callable[[], None]:
    """Iterations as one would write them by hand."""
    torch.manual_seed(setting.seed)
    model = MODELS.build(cfg.model).to(setting.device).train()
    optimizer = torch.optim.Adam(model.parameters(), cfg.optim_wrapper.optimizer.lr, fused=True)
    batches = (batch for _ in repeat(None) for batch in loader)

    def iterate() -> None:
        for _ in range(count):
            inputs = model.data_preprocessor(next(batches), True)['inputs']
            sum(model.loss(inputs).values()).backward()
            clip_grad_norm_(model.parameters(), **cfg.optim_wrapper.clip_grad)
            optimizer.step()
            optimizer.zero_grad()

    return iterate
