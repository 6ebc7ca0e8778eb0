from jaxtyping import Float
from torch import Tensor

from mmocl.models.initializers import SlotInitializer
from mmocl.models.slot_heads.base import SlotHead
from mmocl.registry import MODELS
from mmocl.structures import SlotInputs, SlotState


@MODELS.register_module()
class InitialSlots(SlotHead):
    """Slots as the initializer gives them: no iteration, no competition for tokens.

    With :class:`PooledSlots` the head of a plain auto-encoder, the baseline that a method of
    iterative slots is compared with. Such slots attend to nothing, so the attention is uniform over
    the slots and says nothing about the image: score the masks of the decoder only
    (``mask_sources=['decoder']``). More iterations than none change nothing.

    Args:
        initializer: Where slots start, and stay; a config or a module.
        in_channels: Channels C of the tokens.
        slot_dim: Slot width D; that of the tokens if not given.
        embed_channels: Hidden width of the MLP in front of the initializer, or None.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        initializer: dict | SlotInitializer,
        in_channels: int,
        slot_dim: int | None = None,
        embed_channels: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            initializer,
            in_channels,
            slot_dim,
            num_iters=0,
            embed_channels=embed_channels,
            init_cfg=init_cfg,
        )

    def project(
        self, tokens: Float[Tensor, 'B N C']
    ) -> tuple[Float[Tensor, 'B N D'], Float[Tensor, 'B N D']]:
        """Return the tokens as they are: only their number and masks matter."""
        return tokens, tokens

    def step(
        self, state: SlotState, inputs: SlotInputs
    ) -> tuple[SlotState, Float[Tensor, 'B K N']]:
        """Leave the state; every slot that takes part has the same share of every token."""
        shares = state.mean.new_ones(state.mean.shape[:2])
        if inputs.slot_mask is not None:
            shares = shares * inputs.slot_mask
        shares = shares / shares.sum(dim=1, keepdim=True)
        attn = shares[:, :, None].expand(-1, -1, inputs.keys.shape[1])
        if inputs.token_mask is not None:
            attn = attn * inputs.token_mask[:, None]
        return state, attn
