import torch
from torch import Tensor, nn

from mmocl.registry import MODELS
from mmocl.structures import Features, SlotOutput, SlotState


class PointSlots(nn.Module):
    """Linear encoder, mixture of slots, additive decoder on samples of the slots.

    The notebook of PSA (`arXiv:2406.07141 <https://arxiv.org/abs/2406.07141>`_, section 6) with
    one correction: samples are scaled by the standard deviation, not by its root.

    Args:
        slot_head: Config of the slot head.
    """

    def __init__(self, slot_head: dict) -> None:
        super().__init__()
        self.encoder = nn.Linear(2, 2)
        self.slot_head = MODELS.build(slot_head)
        for parameter in self.slot_head.initializer.parameters():
            nn.init.zeros_(parameter)
        self.decoder = nn.Linear(2, 3)

    def encode(self, points: Tensor, num_iters: int | None = None) -> tuple[Tensor, SlotOutput]:
        """Encode points (B, N, 2) to tokens (B, N, 2), and fit their slots."""
        tokens = self.encoder(points)
        features = Features(tokens, grid=(1, points.shape[1]))
        return tokens, self.slot_head(features, num_iters=num_iters)

    def decode(self, state: SlotState, num_points: int) -> Tensor:
        """Mix samples of all slots into points (B, N, 2)."""
        batch, num_slots, dim = state.mean.shape
        noise = torch.randn(batch, num_slots, num_points, dim)
        samples = state.mean[:, :, None] + (0.5 * state.log_var).exp()[:, :, None] * noise
        decoded = self.decoder(samples * state.log_weight.exp()[:, :, None, None])
        alpha = decoded[..., 2:].softmax(dim=1)
        return (alpha * decoded[..., :2]).sum(dim=1)

    def loss(self, points: Tensor) -> Tensor:
        """Mean squared error to the points in their order, which the slots cannot know."""
        _, slots = self.encode(points)
        return nn.functional.mse_loss(self.decode(slots.state, points.shape[1]), points)
