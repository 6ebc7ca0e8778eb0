from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmocl.models.layers.attention import Attention, KeyValueCache


class DecoderBlock(nn.Module):
    """A pre-norm transformer block: causal self-attention, cross-attention to slots, ReLU MLP.

    Args:
        channels: Width of the tokens.
        num_heads: Heads of both attentions.
        ffn_channels: Hidden width of the MLP.
        dropout: Probability in attention weights and behind each of the three parts.
        bias: Let the attentions have biases.
        out_gain: Gain of the initial weights of the last map of each part.
        norm_stream: Normalise the residual stream itself in front of the self-attention, as the
            first block of SLATE does.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        ffn_channels: int,
        dropout: float = 0.0,
        bias: bool = True,
        out_gain: float = 1.0,
        norm_stream: bool = False,
    ) -> None:
        super().__init__()
        self.norm_stream = norm_stream
        self.norm_self = nn.LayerNorm(channels)
        self.self_attn = Attention(channels, num_heads, bias, dropout, out_gain)
        self.norm_cross = nn.LayerNorm(channels)
        self.cross_attn = Attention(channels, num_heads, bias, dropout, out_gain)
        self.norm_ffn = nn.LayerNorm(channels)
        first, last = nn.Linear(channels, ffn_channels), nn.Linear(ffn_channels, channels)
        nn.init.kaiming_uniform_(first.weight, nonlinearity='relu')
        nn.init.xavier_uniform_(last.weight, out_gain)
        for layer in (first, last):
            nn.init.zeros_(layer.bias)
        self.ffn = nn.Sequential(first, nn.ReLU(inplace=True), last)
        self.dropout = nn.Dropout(dropout)

    def look(
        self, slots: Float[Tensor, 'B K d']
    ) -> tuple[Float[Tensor, 'B H K E'], Float[Tensor, 'B H K E']]:
        """Return keys and values of the slots, which are the same for every token."""
        return self.cross_attn.look(slots)

    def forward(
        self,
        tokens: Float[Tensor, 'B n d'],
        memory: tuple[Float[Tensor, 'B H K E'], Float[Tensor, 'B H K E']],
        active: Bool[Tensor, 'B K'] | None = None,
        cache: KeyValueCache | None = None,
        weigh: bool = False,
    ) -> tuple[Float[Tensor, 'B n d'], Float[Tensor, 'B n K'] | None]:
        """Run the block.

        Args:
            tokens: All tokens of a sequence, or with a ``cache`` the next one only.
            memory: Keys and values of the slots, see :meth:`look`.
            active: True for the slots that take part (None: all).
            cache: Keys and values of the tokens before.
            weigh: Also return the weights of the cross-attention, averaged over heads.
        """
        normed = self.norm_self(tokens)
        if self.norm_stream:
            tokens = normed
        keys, values = self.self_attn.look(normed)
        if cache is not None:
            keys, values = cache.append(keys, values)
        attended = self.self_attn(normed, keys, values, causal=cache is None)
        tokens = tokens + self.dropout(attended)

        weights = None
        if weigh:
            attended, weights = self.cross_attn.forward_with_weights(
                self.norm_cross(tokens), *memory, active
            )
        else:
            attended = self.cross_attn(self.norm_cross(tokens), *memory, mask=active)
        tokens = tokens + self.dropout(attended)
        return tokens + self.dropout(self.ffn(self.norm_ffn(tokens))), weights
