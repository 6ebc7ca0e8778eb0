from jaxtyping import Float
from torch import Tensor, nn

from mmocl.models.slot_heads.base import SlotHead
from mmocl.models.slot_heads.slot_update import SlotUpdate
from mmocl.registry import MODELS
from mmocl.structures import SlotState


@MODELS.register_module()
class SlotAttention(SlotHead):
    """Slot Attention, `arXiv:2006.15055 <https://arxiv.org/abs/2006.15055>`_, algorithm 1.

    Deviation: PyTorch's layer-norm epsilon 1e-5 (TensorFlow's is 1e-3).

    Args:
        initializer: See :class:`SlotHead`, as the next five.
        in_channels: Channels C of the tokens.
        slot_dim: Slot width D; that of the tokens if not given.
        num_iters: Number of updates, the last one included.
        gradient: ``'unrolled'``, ``'implicit'`` or ``'bilevel'``.
        embed_channels: Hidden width of the MLP in front of the head, or None.
        mlp_channels: Hidden width of the residual MLP.
        eps: Added to the softmax of every token before the normalisation over tokens, as in the
            official code.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        initializer: dict | nn.Module,
        in_channels: int,
        slot_dim: int | None = None,
        num_iters: int = 3,
        gradient: str = 'unrolled',
        embed_channels: int | None = None,
        mlp_channels: int = 128,
        eps: float = 1e-8,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            initializer, in_channels, slot_dim, num_iters, gradient, embed_channels, init_cfg
        )
        slot_dim = self.slot_dim
        self.eps = eps
        self.norm_tokens = nn.LayerNorm(self.token_dim)
        self.norm_slots = nn.LayerNorm(slot_dim)
        self.to_query = nn.Linear(slot_dim, slot_dim, bias=False)
        self.to_key = nn.Linear(self.token_dim, slot_dim, bias=False)
        self.to_value = nn.Linear(self.token_dim, slot_dim, bias=False)
        self.update = SlotUpdate(slot_dim, mlp_channels)

    def project(
        self, tokens: Float[Tensor, 'B N C']
    ) -> tuple[Float[Tensor, 'B N D'], Float[Tensor, 'B N D']]:
        """Layer norm, then linear maps without bias."""
        tokens = self.norm_tokens(tokens)
        return self.to_key(tokens), self.to_value(tokens)

    def step(
        self, state: SlotState, keys: Float[Tensor, 'B N D'], values: Float[Tensor, 'B N D']
    ) -> tuple[SlotState, Float[Tensor, 'B K N']]:
        """Slots compete for tokens, then each is updated with its weighted mean of the values."""
        queries = self.to_query(self.norm_slots(state.mean)) * self.slot_dim**-0.5
        attn = (queries @ keys.transpose(1, 2)).softmax(dim=1)
        weights = attn + self.eps
        weights = weights / weights.sum(dim=2, keepdim=True)
        return SlotState(self.update(weights @ values, state.mean)), attn
