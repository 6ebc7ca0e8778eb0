"""One run: train, or leave as it is, then read out slots."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmocl.structures import SlotOutput

from .model import PointSlots


@dataclass(frozen=True, eq=False)
class Run:
    """A trained model; ``losses`` has one entry a step."""

    seed: int
    model: PointSlots
    losses: list[float]


@dataclass(frozen=True, eq=False)
class Readout:
    """What a model says about all scenes: tokens (B, N, 2) and slots."""

    tokens: Tensor
    output: SlotOutput

    @property
    def slots(self) -> np.ndarray:
        """Slots (B, K, 2)."""
        return self.output.slots.numpy()

    @property
    def attn(self) -> np.ndarray:
        """Responsibilities (B, K, N)."""
        return self.output.attn.numpy()


def train(
    points: Tensor,
    slot_head: dict,
    optimizer: dict,
    num_steps: int,
    seed: int,
    report: Callable[[int, float], None] = lambda step, loss: None,
) -> Run:
    """Train on all points at once.

    Args:
        points: Points (B, N, 2).
        slot_head: Config of the slot head.
        optimizer: Arguments of AdamW.
        num_steps: Number of steps; 0 gives the untrained baseline, with the same first weights.
        seed: Seed of the weights, of the first slots and of the decoder's samples.
        report: Called with step and loss.
    """
    torch.manual_seed(seed)
    model = PointSlots(slot_head)
    adam = torch.optim.AdamW(model.parameters(), **optimizer)
    losses = []
    for step in range(1, num_steps + 1):
        loss = model.loss(points)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
        report(step, losses[-1])
    return Run(seed, model, losses)


@torch.no_grad()
def read_out(run: Run, points: Tensor, num_iters: int) -> Readout:
    """Fit the slots of all scenes.

    First slots are drawn from a stream of their own: the same draws whatever the run was trained
    for and however many iterations follow, different ones for every seed.

    Args:
        run: A run.
        points: Points (B, N, 2).
        num_iters: Number of EM steps.
    """
    torch.manual_seed(10_000 + run.seed)
    return Readout(*run.model.encode(points, num_iters))
