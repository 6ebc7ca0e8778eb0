from jaxtyping import Float
from torch import Tensor, nn


class SlotUpdate(nn.Module):
    """Gated recurrent update of the slots, then a residual MLP (Slot Attention, lines 9 and 10).

    Args:
        slot_dim: Slot width D.
        mlp_channels: Hidden width of the MLP.
    """

    def __init__(self, slot_dim: int, mlp_channels: int) -> None:
        super().__init__()
        self.gru = nn.GRUCell(slot_dim, slot_dim)
        self.norm = nn.LayerNorm(slot_dim)
        self.mlp = nn.Sequential(
            nn.Linear(slot_dim, mlp_channels),
            nn.ReLU(inplace=True),
            nn.Linear(mlp_channels, slot_dim),
        )

    def forward(
        self, updates: Float[Tensor, 'B K D'], slots: Float[Tensor, 'B K D']
    ) -> Float[Tensor, 'B K D']:
        """Return the new slots."""
        slots = self.gru(updates.flatten(0, 1), slots.flatten(0, 1)).view_as(slots)
        return slots + self.mlp(self.norm(slots))
