import torch

from mmocl.models.initializers import SlotInitializer
from mmocl.models.slot_heads import SlotAttention
from mmocl.structures import Features, SlotState


class GivenSlots(SlotInitializer):
    """An initializer that returns what it was given."""

    def __init__(self, slots: torch.Tensor) -> None:
        super().__init__(slots.shape[1], slots.shape[2])
        self.slots = slots

    def forward(self, features: Features, num_slots: int | None = None, noise=None) -> SlotState:
        return SlotState(self.slots)


def test_attention_sums_to_one_over_slots_and_follows_their_order() -> None:
    slots = torch.randn(2, 4, 16)
    head = SlotAttention(GivenSlots(slots), 20, 16)
    features = Features(torch.randn(2, 36, 20), (6, 6))
    output = head(features)
    torch.testing.assert_close(output.attn.sum(1), torch.ones(2, 36))
    order = torch.tensor([2, 0, 3, 1])
    head.initializer = GivenSlots(slots[:, order])
    torch.testing.assert_close(head(features).slots, output.slots[:, order], rtol=1e-4, atol=1e-5)
