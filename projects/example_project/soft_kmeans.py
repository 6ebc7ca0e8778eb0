from torch import Tensor

from mmocl.models.slot_heads import SlotHead
from mmocl.models.slot_heads.mixture import compete, hide, share
from mmocl.registry import MODELS
from mmocl.structures import SlotInputs, SlotState


@MODELS.register_module()
class SoftKMeans(SlotHead):
    """Soft k-means on the tokens: slots are cluster centres."""

    def project(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Cluster the tokens as they are."""
        return tokens, tokens

    def step(self, state: SlotState, inputs: SlotInputs) -> tuple[SlotState, Tensor]:
        """Share tokens by their distance to the centres, then move the centres."""
        distance = (state.mean[:, :, None] - inputs.keys[:, None]).square().mean(dim=3)
        log_attn = compete(-distance, inputs.slot_mask)
        weights, _ = share(log_attn, inputs.token_mask)
        return SlotState(weights @ inputs.values), hide(log_attn.exp(), inputs.token_mask)
