import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmocl.models.initializers import SlotInitializer
from mmocl.models.slot_heads.absorption import absorbing_saves
from mmocl.models.slot_heads.base import SlotHead
from mmocl.models.slot_heads.slot_update import SlotUpdate
from mmocl.registry import MODELS
from mmocl.structures import Features, SlotInputs, SlotState


@MODELS.register_module()
class SlotAttention(SlotHead):
    """Slot Attention, `arXiv:2006.15055 <https://arxiv.org/abs/2006.15055>`_, algorithm 1.

    With several heads slots and heads compete jointly for a token, as in SLATE and DINOSAUR; the
    attention is summed over heads. A slot of ``slot_mask`` that does not take part wins nothing;
    its own state moves to the mean value, as in DINOSAUR's code, and is to be ignored.
    Deviation: PyTorch's layer-norm epsilon 1e-5 (TensorFlow's is 1e-3).

    Args:
        initializer: See :class:`SlotHead`, as the next six.
        in_channels: Channels C of the tokens.
        slot_dim: Slot width D; that of the tokens if not given.
        num_iters: Number of updates.
        gradient: ``'unrolled'``, ``'implicit'`` or ``'bilevel'``.
        extra_step: Do one update more.
        embed_channels: Hidden width of the MLP in front of the head, or None.
        num_heads: Attention heads; they divide D.
        mlp_channels: Hidden width of the residual MLP.
        drop_path: Probability to skip the residual MLP for an image (BO-QSA's code: 0.2).
        qkv_bias: Let the three projections have biases.
        eps: Keeps the normalisation over tokens finite.
        eps_mode: ``'attn'``: added to the attention of every token (official code, 1e-8);
            ``'sum'``: added to the sum over tokens (BO-QSA's code, 1.0: slots that win less than
            about one token hardly move).
        embed_out_channels: Width of the tokens behind the MLP in front; D if not given. SPOT's code
            (`arXiv:2312.00648 <https://arxiv.org/abs/2312.00648>`_) keeps that of the backbone.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        initializer: dict | SlotInitializer,
        in_channels: int,
        slot_dim: int | None = None,
        num_iters: int = 3,
        gradient: str = 'unrolled',
        extra_step: bool = False,
        embed_channels: int | None = None,
        num_heads: int = 1,
        mlp_channels: int = 128,
        drop_path: float = 0.0,
        qkv_bias: bool = False,
        eps: float = 1e-8,
        eps_mode: str = 'attn',
        embed_out_channels: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            initializer,
            in_channels,
            slot_dim,
            num_iters,
            gradient,
            extra_step,
            embed_channels,
            embed_out_channels,
            init_cfg,
        )
        slot_dim = self.slot_dim
        if num_heads < 1 or slot_dim % num_heads:
            raise ValueError(f'num_heads must divide slot_dim {slot_dim}, got {num_heads}.')
        if eps_mode not in ('attn', 'sum'):
            raise ValueError(f"eps_mode must be 'attn' or 'sum', got {eps_mode!r}.")
        if eps < 0:
            raise ValueError(f'eps must not be negative, got {eps}.')
        self.num_heads = num_heads
        self.eps = eps
        self.eps_mode = eps_mode
        self.norm_tokens = nn.LayerNorm(self.token_dim)
        self.norm_slots = nn.LayerNorm(slot_dim)
        self.to_query = nn.Linear(slot_dim, slot_dim, bias=qkv_bias)
        self.to_key = nn.Linear(self.token_dim, slot_dim, bias=qkv_bias)
        self.to_value = nn.Linear(self.token_dim, slot_dim, bias=qkv_bias)
        self.update = SlotUpdate(slot_dim, mlp_channels, drop_path)

    def project(
        self, tokens: Float[Tensor, 'B N C']
    ) -> tuple[Float[Tensor, 'B N D'], Float[Tensor, 'B N D']]:
        """Layer norm, then linear maps."""
        tokens = self.norm_tokens(tokens)
        return self.to_key(tokens), self.to_value(tokens)

    def prepare(
        self,
        features: Features,
        slot_mask: Bool[Tensor, 'B K'] | None,
        num_slots: int,
        num_updates: int,
    ) -> SlotInputs:
        """Give keys and values, or only layer-normed tokens where that is less work.

        The linear maps are then applied to the slots (:func:`absorbing_saves`): the same numbers.
        """
        _, num_tokens, width = features.tokens.shape
        sizes = (num_tokens, num_slots, self.num_heads, width, self.slot_dim, num_updates)
        if not self._may_absorb() or not absorbing_saves(*sizes, self.gradient):
            return super().prepare(features, slot_mask, num_slots, num_updates)
        tokens = self.norm_tokens(features.tokens)
        device = tokens.device.type
        if torch.is_autocast_enabled(device):
            # Else autocast would make and keep a copy of the tokens for every product.
            tokens = tokens.to(torch.get_autocast_dtype(device))
        return SlotInputs(tokens, tokens, features.mask, slot_mask, absorbed=True)

    def _may_absorb(self) -> bool:
        """A subclass, or what was put in the place of a map, may do something else."""
        own = type(self)
        ours = (own.project, own.step) == (SlotAttention.project, SlotAttention.step)
        maps = (self.to_key, self.to_value)
        # Hooks of these modules would not be called.
        return ours and all(type(m) is nn.Linear and not m._forward_hooks for m in maps)

    def step(
        self, state: SlotState, inputs: SlotInputs
    ) -> tuple[SlotState, Float[Tensor, 'B K N']]:
        """Slots compete for tokens, then each is updated with its weighted mean of the values."""
        queries = self.to_query(self.norm_slots(state.mean))
        queries = queries * (self.slot_dim // self.num_heads) ** -0.5
        # The softmax is over heads and slots together.
        logits = self._compare(self._split(queries), inputs)
        if inputs.slot_mask is not None:
            logits = logits.masked_fill(~inputs.slot_mask[:, None, :, None], -float('inf'))
        attn = logits.flatten(1, 2).softmax(dim=1).view_as(logits)
        weights = attn + self.eps if self.eps_mode == 'attn' else attn
        if inputs.token_mask is not None:
            attn, weights = (x * inputs.token_mask[:, None, None] for x in (attn, weights))
        count = weights.sum(dim=3, keepdim=True)
        weights = weights / (count + self.eps if self.eps_mode == 'sum' else count)
        updates = self._collect(weights, inputs).transpose(1, 2).flatten(2)
        return SlotState(self.update(updates, state.mean)), attn.sum(dim=1)

    def _compare(
        self, queries: Float[Tensor, 'B H K E'], inputs: SlotInputs
    ) -> Float[Tensor, 'B H K N']:
        """Return the products of queries and keys."""
        if not inputs.absorbed:
            return queries @ self._split(inputs.keys).transpose(2, 3)
        weight = self.to_key.weight.unflatten(0, (self.num_heads, -1))
        moved = torch.einsum('bhke,hec->bhkc', queries, weight)
        # All heads in one product, which so needs no copy of the tokens for each.
        logits = moved.flatten(1, 2) @ inputs.keys.transpose(1, 2)
        logits = logits.unflatten(1, (self.num_heads, -1))
        if self.to_key.bias is not None:
            bias = self.to_key.bias.unflatten(0, (self.num_heads, -1))
            logits = logits + torch.einsum('bhke,he->bhk', queries, bias)[..., None]
        return logits

    def _collect(
        self, weights: Float[Tensor, 'B H K N'], inputs: SlotInputs
    ) -> Float[Tensor, 'B H K E']:
        """Return the weighted sums of the values."""
        if not inputs.absorbed:
            return weights @ self._split(inputs.values)
        sums = (weights.flatten(1, 2) @ inputs.values).unflatten(1, (self.num_heads, -1))
        weight = self.to_value.weight.unflatten(0, (self.num_heads, -1))
        updates = torch.einsum('bhkc,hec->bhke', sums, weight)
        if self.to_value.bias is not None:
            bias = self.to_value.bias.view(self.num_heads, 1, -1)
            # The weights sum to less than one where eps is added to their sum.
            updates = updates + weights.sum(dim=3, keepdim=True) * bias
        return updates

    def _split(self, x: Float[Tensor, 'B L D']) -> Float[Tensor, 'B H L E']:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
