from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional


class KeyValueCache:
    """Keys and values of the tokens that were decoded so far, written in place.

    Args:
        num_tokens: Most tokens that it will hold.
    """

    def __init__(self, num_tokens: int) -> None:
        self._num_tokens = num_tokens
        self._length = 0
        self._both: tuple[Tensor, Tensor] | None = None

    def append(
        self, keys: Float[Tensor, 'B H n E'], values: Float[Tensor, 'B H n E']
    ) -> tuple[Float[Tensor, 'B H m E'], Float[Tensor, 'B H m E']]:
        """Add the keys and values of new tokens; return those of all so far."""
        batch, heads, num_new, width = keys.shape
        if self._both is None:
            shape = (batch, heads, self._num_tokens, width)
            self._both = keys.new_empty(shape), values.new_empty(shape)
        stop = self._length + num_new
        for store, new in zip(self._both, (keys, values), strict=True):
            store[:, :, self._length : stop] = new
        self._length = stop
        return self._both[0][:, :, :stop], self._both[1][:, :, :stop]


class Attention(nn.Module):
    """Multi-head attention by PyTorch's fused kernels.

    The four maps start from Xavier's uniform distribution, the last one scaled by ``out_gain``.

    Args:
        channels: Channels of queries and of the result.
        num_heads: Number of heads; they divide ``channels``.
        bias: Let the four linear maps have biases.
        dropout: Probability to drop an attention weight.
        out_gain: Gain of the initial weights of the last map.

    Raises:
        ValueError: If the heads do not divide the channels.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        bias: bool = True,
        dropout: float = 0.0,
        out_gain: float = 1.0,
    ) -> None:
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise ValueError(f'num_heads must divide channels {channels}, got {num_heads}.')
        self.num_heads = num_heads
        self.dropout = dropout
        self.to_query = nn.Linear(channels, channels, bias=bias)
        self.to_key = nn.Linear(channels, channels, bias=bias)
        self.to_value = nn.Linear(channels, channels, bias=bias)
        self.to_out = nn.Linear(channels, channels, bias=bias)
        for layer in (self.to_query, self.to_key, self.to_value, self.to_out):
            nn.init.xavier_uniform_(layer.weight, out_gain if layer is self.to_out else 1.0)
            if bias:
                nn.init.zeros_(layer.bias)

    def look(
        self, tokens: Float[Tensor, 'B M d']
    ) -> tuple[Float[Tensor, 'B H M E'], Float[Tensor, 'B H M E']]:
        """Return keys and values of the tokens that are attended to."""
        return self._split(self.to_key(tokens)), self._split(self.to_value(tokens))

    def forward(
        self,
        tokens: Float[Tensor, 'B n d'],
        keys: Float[Tensor, 'B H M E'],
        values: Float[Tensor, 'B H M E'],
        causal: bool = False,
        mask: Bool[Tensor, 'B M'] | None = None,
    ) -> Float[Tensor, 'B n d']:
        """Attend; ``mask`` is True for the keys that take part (None: all)."""
        out = functional.scaled_dot_product_attention(
            self._split(self.to_query(tokens)),
            keys,
            values,
            attn_mask=None if mask is None else mask[:, None, None],
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal,
        )
        return self._merge(out)

    def forward_with_weights(
        self,
        tokens: Float[Tensor, 'B n d'],
        keys: Float[Tensor, 'B H M E'],
        values: Float[Tensor, 'B H M E'],
        mask: Bool[Tensor, 'B M'] | None = None,
    ) -> tuple[Float[Tensor, 'B n d'], Float[Tensor, 'B n M']]:
        """Attend; also return the weights, averaged over heads, before their dropout.

        Fused kernels keep the weights to themselves; with as few keys as there are slots, computing
        them costs little.
        """
        queries = self._split(self.to_query(tokens))
        logits = queries @ keys.mT * queries.shape[-1] ** -0.5
        if mask is not None:
            logits = logits.masked_fill(~mask[:, None, None], -torch.inf)
        weights = logits.softmax(dim=-1)
        dropped = functional.dropout(weights, self.dropout, self.training)
        # The softmax may be in float32 under autocast.
        return self._merge(dropped.to(values.dtype) @ values), weights.mean(dim=1)

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.num_heads, -1)).transpose(1, 2)

    def _merge(self, heads: Tensor) -> Tensor:
        return self.to_out(heads.transpose(1, 2).flatten(2))
