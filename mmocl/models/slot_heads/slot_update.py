from jaxtyping import Float
from timm.layers import DropPath
from torch import Tensor, nn


class SlotUpdate(nn.Module):
    """Gated recurrent update of the slots, then a residual MLP (Slot Attention, lines 9 and 10).

    Args:
        slot_dim: Slot width D.
        mlp_channels: Hidden width of the MLP.
        drop_path: Probability to skip the MLP for a whole image while training (the released code
            of BO-QSA: 0.2).
    """

    def __init__(self, slot_dim: int, mlp_channels: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.gru = nn.GRUCell(slot_dim, slot_dim)
        self.norm = nn.LayerNorm(slot_dim)
        self.mlp = nn.Sequential(
            nn.Linear(slot_dim, mlp_channels),
            nn.ReLU(inplace=True),
            nn.Linear(mlp_channels, slot_dim),
        )
        self.drop_path = DropPath(drop_path)

    def forward(
        self, updates: Float[Tensor, 'B K D'], slots: Float[Tensor, 'B K D']
    ) -> Float[Tensor, 'B K D']:
        """Return the new slots."""
        slots = self.gru(updates.flatten(0, 1), slots.flatten(0, 1)).view_as(slots)
        return slots + self.drop_path(self.mlp(self.norm(slots)))
