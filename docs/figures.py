"""Draw the figures of the pages: ``python docs/figures.py``.

Trains a small model on generated sprites, unless its checkpoints are there (three minutes on a free
CPU core), and writes ``docs/figures/``. It prints the numbers of the last figure.
"""

import argparse
from io import BytesIO
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image
from torch import Tensor

from mmocl.apis import SlotInferencer
from mmocl.datasets import ColoredSprites
from mmocl.evaluation.collapse_signs import SIGNS
from mmocl.evaluation.functional.label_map import label_map
from mmocl.evaluation.metrics import CollapseMetric
from mmocl.models import SlotAutoencoder
from mmocl.models.initializers import LearnedSlots
from mmocl.models.slot_heads import ProbabilisticSlotAttention
from mmocl.structures import Features, SlotDataSample
from mmocl.visualization.drawing import overlay, palette

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / 'docs/figures'
CONFIG = 'configs/boqsa/boqsa_conv_sprites.py'
EARLY = 500  # steps after which the masks of this config say nothing yet
EXAMPLE = 3  # index of the image that is shown alone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs/figures')
    args = parser.parse_args()
    torch.set_num_threads(1)  # the same sums on every machine
    OUT.mkdir(exist_ok=True)
    plt.rcParams.update({'font.size': 9})

    save(mixture(), 'mixture.png')
    cfg = Config.fromfile(ROOT / CONFIG)
    late = cfg.train_cfg.max_iters
    if not (args.work_dir / f'iter_{late}.pth').is_file():
        train(cfg, args.work_dir)
    models = {
        f'step {steps:,}': load(cfg, args.work_dir / f'iter_{steps}.pth') for steps in (EARLY, late)
    }
    images = sprites(16)
    trained = models[f'step {late:,}']
    save(iterations(trained, images[EXAMPLE]), 'iterations.png')
    save(decoding(trained, images[EXAMPLE]), 'decoding.png')
    save(collapse(models, images), 'collapse.png')


def sprites(num: int) -> Tensor:
    """Images that neither training nor tests of the configs have."""
    scenes = ColoredSprites(
        num_images=num, image_size=32, min_objects=3, min_distance=0.25, background='plain', seed=7
    )
    return torch.stack([scenes[i]['inputs'] for i in range(num)])


def train(cfg: Config, work_dir: Path) -> None:
    """Train, and keep a checkpoint every ``EARLY`` steps."""
    cfg.work_dir = str(work_dir)
    cfg.train_cfg.val_interval = cfg.train_cfg.max_iters
    cfg.default_hooks.checkpoint.interval = EARLY
    Runner.from_cfg(cfg).train()


def load(cfg: Config, checkpoint: Path) -> SlotAutoencoder:
    """The model with these weights."""
    model = SlotInferencer(cfg, str(checkpoint), 'cpu', show_progress=False).model
    return model.eval()


@torch.no_grad()
def predict(model: SlotAutoencoder, images: Tensor, **options: bool) -> list[SlotDataSample]:
    torch.manual_seed(0)  # the first slots are drawn
    batch = model.data_preprocessor({'inputs': images}, False)
    return model.predict(batch['inputs'], **options)


def mixture() -> Figure:
    """Steps of expectation maximisation on points of a plane."""
    rng = np.random.default_rng(1)
    centres = np.array([[-2.0, 0.0], [1.5, 1.6], [1.8, -1.4]])
    spread = np.array([[0.5, 1.0], [0.9, 0.4], [0.5, 0.5]])
    points = (centres[:, None] + spread[:, None] * rng.normal(size=(3, 80, 2))).reshape(-1, 2)
    start = torch.tensor([[[-0.6, 0.2], [0.2, 0.8], [0.5, -0.5]]])
    initializer = LearnedSlots(num_slots=3, slot_dim=2)
    initializer.load_state_dict({name: start for name in initializer.state_dict()})
    head = ProbabilisticSlotAttention(
        initializer, in_channels=2, num_iters=8, projections='none', normalize=False,
        variance_space='value', logit_scale=1.0,
    ).eval()  # fmt: skip
    tokens = Features(torch.tensor(points, dtype=torch.float32)[None], (1, len(points)))
    with torch.no_grad():
        output = head(tokens, keep_steps=True)
    updates = [*output.steps, output]
    figure, axes = plt.subplots(1, 4, figsize=(8, 2.3), constrained_layout=True)
    # An update assigns points to the clusters that it found, and then moves these.
    shown = {'update 1': 0, 'update 2': 1, 'update 4': 3, 'update 8': 7}
    for ax, (title, i) in zip(axes, shown.items(), strict=True):
        shares = updates[i].attn[0].T.numpy()
        ax.scatter(*points.T, s=5, c=np.clip(shares @ palette(3) / 255, 0, 1), linewidths=0)
        for k in range(3):
            draw_gaussian(ax, updates[i].state.mean[0, k], updates[i].state.log_var[0, k], k)
        weights = updates[i].state.log_weight[0].exp()
        ax.set_title(f'{title}\nweights {", ".join(f"{w:.2f}" for w in weights)}', fontsize=8)
        ax.set(xticks=[], yticks=[], aspect='equal', xlim=(-4, 4.5), ylim=(-3.6, 3.6))
    return figure


def draw_gaussian(ax: Axes, mean: Tensor, log_var: Tensor, k: int) -> None:
    """Mean, and the ellipse of two standard deviations."""
    width, height = (4 * (0.5 * log_var).exp()).tolist()
    color = palette(3)[k] / 255 * 0.7
    ax.add_patch(Ellipse(tuple(mean.tolist()), width, height, fill=False, color=color, lw=1.5))
    ax.plot(*mean.tolist(), marker='X', color=color, ms=7, mec='white')


def iterations(model: SlotAutoencoder, image: Tensor) -> Figure:
    """Attention of every slot after every update."""
    (sample,) = predict(model, image[None], keep_steps=True)
    steps = sample.pred_steps  # T, K, h, w
    num_steps, num_slots = steps.shape[:2]
    figure, axes = plt.subplots(
        num_steps, num_slots + 1, figsize=(1.15 * (num_slots + 1), 1.15 * num_steps),
        constrained_layout=True,
    )  # fmt: skip
    picture = pixels(image)
    for t, row in enumerate(axes):
        row[0].imshow(colored(picture, steps[t]))
        row[0].set_ylabel(f'update {t + 1}', fontsize=8)
        for k in range(num_slots):
            row[k + 1].imshow(steps[t, k], cmap='gray', vmin=0, vmax=1)
    axes[0, 0].set_title('strongest', fontsize=8)
    for k, color in enumerate(palette(num_slots) / 255 * 0.8):
        axes[0, k + 1].set_title(f'slot {k}', color=color, fontweight='bold', fontsize=8)
    return without_ticks(figure)


@torch.no_grad()
def decoding(model: SlotAutoencoder, image: Tensor) -> Figure:
    """What the decoder makes of every slot."""
    torch.manual_seed(0)
    inputs = model.data_preprocessor({'inputs': image[None]}, False)['inputs']
    output = model.run(inputs)
    masks = output.decoded.masks[0]
    parts = output.decoded.slot_recons[0]
    to_pixels = model.data_preprocessor.to_pixels
    figure, axes = plt.subplots(
        2, len(masks) + 1, figsize=(1.15 * (len(masks) + 1), 2.5), constrained_layout=True
    )
    axes[0, 0].imshow(pixels(image))
    axes[0, 0].set_title('input', fontsize=8)
    axes[1, 0].imshow(pixels(to_pixels(output.decoded.recon[0]).round().byte()))
    axes[1, 0].set_title('sum of all', fontsize=8)
    for k, (part, mask) in enumerate(zip(parts, masks, strict=True)):
        axes[0, k + 1].imshow(pixels(to_pixels(part).round().byte()))
        axes[0, k + 1].set_title(f'slot {k}', fontsize=8)
        axes[1, k + 1].imshow(mask, cmap='gray', vmin=0, vmax=1)
        axes[1, k + 1].set_title('its mask', fontsize=8)
    return without_ticks(figure)


def collapse(models: dict[str, SlotAutoencoder], images: Tensor) -> Figure:
    """Attention masks of two models, and the signs of collapse in them."""
    num_shown = 5
    figure, axes = plt.subplots(
        2, num_shown + 1, figsize=(8, 2.9), constrained_layout=True,
        width_ratios=[1] * num_shown + [2.1],
    )  # fmt: skip
    names = [name for name in SIGNS if name != 'slot_cosine']
    for row, (label, model) in zip(axes, models.items(), strict=True):
        samples = predict(model, images)
        for ax, image, sample in zip(row[:-1], images, samples, strict=False):
            ax.imshow(colored(pixels(image), sample.pred_attn.data))
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(label, fontsize=9)
        metric = CollapseMetric(['attention'])
        metric.process(None, [sample.to_dict() for sample in samples])
        results = metric.compute_metrics(metric.results)
        values = [results[f'attn_{name}'] for name in names]
        over = [value > SIGNS[name].above for name, value in zip(names, values, strict=True)]
        colors = ['#b3261e' if found else '#5f6b7a' for found in over]
        row[-1].barh(range(len(names)), values, color=colors, height=0.6)
        row[-1].set_yticks(range(len(names)), names)
        limits = [SIGNS[name].above for name in names]
        row[-1].scatter(limits, range(len(names)), marker='|', s=60, color='black', zorder=3)
        row[-1].set(xlim=(0, 1.02))
        row[-1].tick_params(labelsize=7)
        row[-1].invert_yaxis()
        print(label, {name: round(value, 3) for name, value in zip(names, values, strict=True)})
    return figure


def colored(picture: np.ndarray, masks: Tensor) -> np.ndarray:
    """The picture, every pixel in the colour of its strongest slot."""
    size = (picture.shape[0], picture.shape[1])
    return overlay(picture, label_map(masks.detach(), size).cpu().numpy())


def pixels(image: Tensor) -> np.ndarray:
    """An image (3, H, W) of bytes, four times as large, as an array."""
    array = image.permute(1, 2, 0).numpy()
    return np.asarray(Image.fromarray(array).resize((128, 128), Image.Resampling.NEAREST))


def without_ticks(figure: Figure) -> Figure:
    for ax in figure.axes:
        ax.set(xticks=[], yticks=[])
    return figure


def save(figure: Figure, name: str) -> None:
    """Write a figure as a small file."""
    path = OUT / name
    buffer = BytesIO()
    figure.savefig(buffer, dpi=110, format='png')
    Image.open(buffer).convert('RGB').quantize(128).save(path, optimize=True)
    plt.close(figure)
    print(f'{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB')


if __name__ == '__main__':
    main()
