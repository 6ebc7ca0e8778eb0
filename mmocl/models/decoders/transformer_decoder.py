from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmocl.models.layers import (
    DecoderBlock,
    KeyValueCache,
    PatchEmbedding,
    TokenEmbedding,
    patch_order,
    require_active,
    require_grid,
)
from mmocl.registry import MODELS
from mmocl.structures import Decoded, Target


@MODELS.register_module()
class TransformerDecoder(BaseModule):
    """Predict every patch or token from those before it and, by cross-attention, from the slots.

    With ``vocab_size`` it predicts discrete tokens, as SLATE does (`arXiv:2110.11405
    <https://arxiv.org/abs/2110.11405>`_): they are embedded with learned positions, and the result
    are logits. Without, it predicts features of patches, as DINOSAUR does (`arXiv:2209.14860
    <https://arxiv.org/abs/2209.14860>`_). Given a target the true tokens are fed (teacher forcing);
    without one the decoder feeds its own, the likeliest token or the predicted feature, one at a
    time with the keys and values of those before kept, and without a gradient.

    Masks are the cross-attention of the last block, averaged over heads: they sum to one over the
    slots for every patch.

    The two lines of code differ in the blocks. ``'dinosaur'``: attentions have biases, nothing is
    normalised at the end. ``'slate'`` (also BO-QSA and SPOT): no biases, the first block normalises
    the residual stream itself, a layer norm at the end, and last maps of attentions and MLPs start
    smaller by ``(3 * num_layers) ** -0.5``. Deviation: DINOSAUR's MLPs start as SLATE's do.

    Args:
        slot_dim: Slot width D.
        out_channels: Channels of the target; for tokens the same as ``vocab_size``.
        grid: Patches (h, w) that are decoded, and that positions are learned for.
        vocab_size: Number of discrete tokens; None decodes features.
        channels: Width of the transformer; ``out_channels`` if not given.
        num_layers: Number of blocks.
        num_heads: Heads of every attention; the MLPs are four times as wide as ``channels``.
        dropout: Dropout in the blocks and on the embedding of tokens.
        blocks: ``'dinosaur'`` or ``'slate'``.
        orders: Orders in which patches are decoded (SPOT, `arXiv:2312.00648
            <https://arxiv.org/abs/2312.00648>`_; names in ``PATCH_ORDERS``). Training draws one
            for a batch; the test takes the first.
        average_orders: In the test decode in all orders and average features and masks.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: If ``blocks`` or an order is unknown, or tokens are to be decoded in other
            orders than rows, which their positions are learned for.
    """

    has_masks = True

    def __init__(
        self,
        slot_dim: int,
        out_channels: int,
        grid: tuple[int, int],
        vocab_size: int | None = None,
        channels: int | None = None,
        num_layers: int = 4,
        num_heads: int = 8,
        dropout: float = 0.0,
        blocks: str = 'dinosaur',
        orders: Sequence[str] = ('rows',),
        average_orders: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if blocks not in ('dinosaur', 'slate'):
            raise ValueError(f"blocks must be 'dinosaur' or 'slate', got {blocks!r}.")
        self.only_rows = tuple(orders) == ('rows',)
        if vocab_size is not None and not self.only_rows:
            raise ValueError(
                f"Tokens are decoded in the order 'rows', which their positions are learned for; "
                f'got decoder.orders={orders}.'
            )
        self.shape = 'tokens' if vocab_size is None else 'ids'
        self.grid = (int(grid[0]), int(grid[1]))
        self.average_orders = average_orders
        self.order_names = tuple(orders)
        self.register_buffer('orders', self._places(self.grid), persistent=False)
        channels = out_channels if channels is None else channels
        self.embedding: TokenEmbedding | PatchEmbedding
        self.memory: nn.Module = nn.Linear(slot_dim, channels, bias=False)
        nn.init.xavier_uniform_(self.memory.weight)
        self.project: nn.Module = nn.Identity()
        if vocab_size is not None or channels != out_channels:
            self.project = nn.Linear(channels, out_channels, bias=False)
            nn.init.xavier_uniform_(self.project.weight)
        if vocab_size is None:
            self.embedding = PatchEmbedding(out_channels, channels, len(orders))
            self.memory = nn.Sequential(self.memory, nn.LayerNorm(channels))
        else:
            self.embedding = TokenEmbedding(vocab_size, channels, self.grid, dropout)
        slate = blocks == 'slate'
        self.blocks: Any = nn.ModuleList(
            DecoderBlock(
                channels,
                num_heads,
                4 * channels,
                dropout,
                bias=not slate,
                out_gain=(3 * num_layers) ** -0.5 if slate else 1.0,
                norm_stream=slate and i == 0,
            )
            for i in range(num_layers)
        )
        self.norm: nn.Module = nn.LayerNorm(channels) if slate else nn.Identity()

    def forward(
        self,
        slots: Float[Tensor, 'B K D'],
        target: Target | None = None,
        active: Bool[Tensor, ...] | None = None,
    ) -> Decoded:
        """Decode to features or logits (B, P, F) and masks (B, K, h, w).

        With ``active`` (B, K) other slots are not attended to, and their masks are 0. In evaluation
        mode positions and orders are those of the target's grid.

        Raises:
            ValueError: If the target has another grid in training, ``active`` another shape than
                the slots, or an image no active slot.
        """
        require_active(slots, active)
        embedded = self.memory(slots)
        memory = [block.look(embedded) for block in self.blocks]
        if target is None:
            return self._sample(memory, active)
        grid = require_grid('TransformerDecoder', self.grid, target, any_grid=not self.training)
        # Indices stay on the device, which so need not be waited for.
        orders = torch.arange(len(self.orders), device=slots.device)
        if self.training and len(orders) > 1:
            orders = torch.randint(len(orders), (1,), device=slots.device)
        elif not self.average_orders:
            orders = orders[:1]
        results = [
            self._decode(memory, target.values, grid, active, order) for order in orders.split(1)
        ]
        recon, masks = results[0]
        if len(results) > 1:
            recon, masks = (sum(parts) / len(results) for parts in zip(*results, strict=True))
        return Decoded(recon, masks.mT.unflatten(2, grid))

    def _decode(
        self,
        memory: list,
        values: Tensor,
        grid: tuple[int, int],
        active: Tensor | None,
        order: Int64[Tensor, ' 1'],
    ) -> tuple[Float[Tensor, 'B P F'], Float[Tensor, 'B P K']]:
        """Decode all patches at once in one order, each from the true ones before it."""
        if self.only_rows:
            # Logits of many tokens are too large to be put in an order that they have.
            return self._run(self.embedding(values, grid=grid)[:, :-1], memory, active)
        orders = self.orders if grid == self.grid else self._places(grid).to(order.device)
        places = orders.index_select(0, order)[0]
        back = places.argsort()
        tokens = self.embedding(values[:, places], order, grid)
        recon, masks = self._run(tokens[:, :-1], memory, active)
        return recon[:, back], masks[:, back]

    def _places(self, grid: tuple[int, int]) -> Int64[Tensor, 'o P']:
        """Places of a grid in every order."""
        return torch.stack([patch_order(name, grid) for name in self.order_names])

    def _run(
        self,
        tokens: Float[Tensor, 'B n d'],
        memory: list,
        active: Tensor | None,
        caches: Sequence[KeyValueCache | None] = (),
    ) -> tuple[Float[Tensor, 'B n F'], Float[Tensor, 'B n K']]:
        weights = None
        for i, block in enumerate(self.blocks):
            cache = caches[i] if caches else None
            last = block is self.blocks[-1]
            tokens, weights = block(tokens, memory[i], active, cache, weigh=last)
        assert weights is not None
        return self.project(self.norm(tokens)), weights

    @torch.no_grad()
    def _sample(self, memory: list, active: Tensor | None) -> Decoded:
        """Decode one token after the other in the first order, greedily and without a gradient."""
        keys, _ = memory[0]
        num_tokens = self.orders.shape[1]
        caches = [KeyValueCache(num_tokens) for _ in self.blocks]
        token = self.embedding.start(keys.shape[0])
        recons, masks = [], []
        for place in range(num_tokens):
            recon, weights = self._run(token, memory, active, caches)
            recons.append(recon)
            masks.append(weights)
            fed = recon if self.shape == 'tokens' else recon.argmax(dim=2)
            token = self.embedding.embed_next(fed, place)
        back = self.orders[0].argsort()
        return Decoded(
            torch.cat(recons, dim=1)[:, back],
            torch.cat(masks, dim=1)[:, back].mT.unflatten(2, self.grid),
        )
