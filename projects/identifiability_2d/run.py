"""Train many seeds on 2-D points and compare their slots: ``README.md`` says what it shows.

Writes ``results.json``, ``smcc.png`` and the pictures of the aggregate posteriors.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from .compare import as_the_notebook_selects, cluster_recovery, compare, summarise
from .data import make_scenes
from .figures import posterior_grid, score_matrices
from .train import Readout, Run, read_out, train

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config', type=Path, default=HERE / 'config.py')
    parser.add_argument('--seeds', type=int, help='number of runs, if not that of the config')
    parser.add_argument('--steps', type=int, help='steps of a run, if not those of the config')
    parser.add_argument('--out-dir', type=Path, default=Path('work_dirs/identifiability_2d'))
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    if args.seeds is not None:
        cfg.num_seeds = args.seeds
    if args.steps is not None:
        cfg.num_steps = args.steps
    if cfg.num_seeds < 2 or cfg.num_steps < 0:
        parser.error('at least 2 seeds are compared, and steps are not negative')
    args.out_dir.mkdir(parents=True, exist_ok=True)

    started = time.perf_counter()
    seeds = list(range(cfg.num_seeds))
    points, labels = make_scenes(**cfg.data)
    results: dict = {
        'seeds': seeds,
        'steps': cfg.num_steps,
        'commit': _git('rev-parse', '--short', 'HEAD'),
        'uncommitted_changes': bool(_git('status', '--porcelain')),
        'torch': torch.__version__,
        'config': cfg.to_dict(),
        # What a decoder reaches that ignores its slots.
        'loss_of_constant_zero': points.square().mean().item(),
        'runs': {},
        'scores': {},
    }
    matrices = {}
    for name, num_steps in (('trained', cfg.num_steps), ('untrained', 0)):
        runs = _train_all(points, cfg, num_steps, seeds, name)
        readouts = {
            str(num_iters): [read_out(run, points, num_iters) for run in runs]
            for num_iters in cfg.readout_iters
        }
        results['runs'][name] = [
            _describe(run, {key: value[i] for key, value in readouts.items()}, labels)
            for i, run in enumerate(runs)
        ]
        scores = {
            key: compare(value, _progress(f'{name}, {key} EM steps: pair'))
            for key, value in readouts.items()
        }
        results['scores'][name] = {
            key: {kind: _record(value, cfg.affine_r2) for kind, value in kinds.items()}
            for key, kinds in scores.items()
        }
        first = str(cfg.readout_iters[0])
        for kind in ('responsibilities', 'slots'):
            matrices[f'{name}, matched by {kind}'] = scores[first][kind]['smcc']
        path = args.out_dir / f'aggregate_posteriors_{name}.png'
        posterior_grid(readouts[first], seeds, labels, cfg.num_posterior_scenes, path)
    score_matrices(matrices, seeds, args.out_dir / 'smcc.png')
    results['seconds'] = round(time.perf_counter() - started, 1)
    (args.out_dir / 'results.json').write_text(json.dumps(results, indent=1) + '\n')
    print(_table(results))
    print(f'{results["seconds"]} s; see {args.out_dir}')


def _train_all(points: Tensor, cfg: Config, num_steps: int, seeds: list[int], name: str) -> list:
    runs = []
    report = _progress(f'{name}: run')
    for done, seed in enumerate(seeds, 1):
        runs.append(train(points, cfg.slot_head, cfg.optimizer, num_steps, seed))
        report(done, len(seeds))
    return runs


def _progress(label: str) -> Callable[[int, int], None]:
    """Print about every tenth step with the time that is left."""
    return partial(_print_progress, label, time.perf_counter())


def _print_progress(label: str, started: float, done: int, total: int) -> None:
    if done % max(1, total // 10) == 0 or done == total:
        left = (time.perf_counter() - started) / done * (total - done)
        print(f'{label} {done}/{total}, {left:.0f} s left', flush=True)


def _describe(run: Run, readouts: dict[str, Readout], labels: Tensor) -> dict:
    return {
        'seed': run.seed,
        'losses': run.losses,
        # The second is near 0 if the encoder squeezes the plane on to a line.
        'encoder_singular_values': torch.linalg.svdvals(run.model.encoder.weight).tolist(),
        **{key: cluster_recovery(readout, labels) for key, readout in readouts.items()},
    }


def _record(scores: dict[str, np.ndarray], affine_r2: float) -> dict:
    return {
        **summarise(scores['smcc'], scores['r2'], affine_r2),
        'five_best_consecutive_pairs': as_the_notebook_selects(scores['smcc']),
        **{name: matrix.round(4).tolist() for name, matrix in scores.items()},
    }


def _git(*arguments: str) -> str | None:
    try:
        return subprocess.run(
            ['git', *arguments], cwd=HERE, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _table(results: dict) -> str:
    """Short table; the paper's figure averages the five best of 14 consecutive pairs."""
    head = (
        'weights    steps  matched by        SMCC          min   R2    not affine  chance  best 5'
    )
    lines = [head]
    for name, variants in results['scores'].items():
        for key, kinds in variants.items():
            for kind in ('responsibilities', 'slots'):
                row, chance = kinds[kind], kinds[f'{kind}_chance']
                lines.append(
                    f'{name:<10} {key:<6}{kind:<17} '
                    f'{row["smcc_mean"]:.2f} +- {row["smcc_std"]:.2f}  {row["smcc_min"]:.2f}  '
                    f'{row["r2_mean"]:.2f}  {row["num_pairs_not_affine"]:>3} of '
                    f'{row["num_pairs"]:<3}  {chance["smcc_mean"]:>5.2f}   '
                    f'{row["five_best_consecutive_pairs"]:.2f}'
                )
    lines.append('steps: EM steps of the read-out. The paper: 0.93 +- 0.04, "best 5" of 14.')
    return '\n'.join(lines)


if __name__ == '__main__':
    main()
