import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmocl.models.initializers.base import SlotInitializer
from mmocl.models.layers import at_least_float32
from mmocl.registry import MODELS
from mmocl.structures import Features, SlotState


@MODELS.register_module()
class TransformerSlots(SlotInitializer):
    """Slots drawn from one Gaussian an image, which a small transformer reads off its tokens.

    The start of the Slot Mixture Module, `arXiv:2311.04640 <https://arxiv.org/abs/2311.04640>`_,
    released code. Two learned tokens go in front of those of the image through a pre-norm
    transformer; an MLP each turns what they have become into mean and log-scale of a Gaussian over
    the initial means and log standard deviations of slots. A head without variances uses the means.
    It learns with ``gradient='bilevel'`` or ``'unrolled'`` of the head; ``'implicit'`` freezes it.

    Deviations from the released code: its blocks have two self-attentions and dropout; its
    transformer's other outputs replace the tokens of the head, which here sees them as they are.

    Args:
        num_slots: Number of slots K; it can be overridden at every call.
        slot_dim: Slot width D.
        in_channels: Channels C of the tokens as the head embeds them; D if not given.
        num_layers: Blocks of the transformer.
        num_heads: Its attention heads; they divide C.
        mlp_ratio: Hidden width of its MLPs, relative to C.
        hidden_channels: Hidden width of the two MLPs behind it.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: If the heads do not divide C.
    """

    def __init__(
        self,
        num_slots: int,
        slot_dim: int,
        in_channels: int | None = None,
        num_layers: int = 2,
        num_heads: int = 4,
        mlp_ratio: int = 4,
        hidden_channels: int = 128,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(num_slots, slot_dim, init_cfg)
        width = slot_dim if in_channels is None else in_channels
        if num_heads < 1 or width % num_heads:
            raise ValueError(f'num_heads must divide in_channels {width}, got {num_heads}.')
        self.in_channels = width
        self.mean_token = nn.Parameter(torch.randn(1, 1, width))
        self.scale_token = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, 1, width)))
        layer = nn.TransformerEncoderLayer(
            width,
            num_heads,
            mlp_ratio * width,
            dropout=0.0,
            activation='gelu',
            batch_first=True,
            norm_first=True,
        )
        self.transformer = nn.TransformerEncoder(
            layer, num_layers, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )
        # The encoder copies its layer, weights and all; without this all layers start as one.
        for parameter in self.transformer.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
        self.to_mean = _mlp(width, hidden_channels, 2 * slot_dim)
        self.to_log_scale = _mlp(width, hidden_channels, 2 * slot_dim)

    @property
    def noise_channels(self) -> int:
        """Width of a mean and a log standard deviation."""
        return 2 * self.slot_dim

    def forward(
        self,
        features: Features,
        num_slots: int | None = None,
        noise: Float[Tensor, '...'] | None = None,
    ) -> SlotState:
        """Draw the initial slots, with a ``log_var``; ``noise`` is twice as wide as a slot.

        Raises:
            ValueError: If tokens have another width than ``in_channels``, or ``noise`` has another
                shape than (B, K, 2D).
        """
        mean, log_scale = self.distribution(features)
        noise = self.draw(mean, (mean.shape[0], self.count(num_slots), mean.shape[2]), noise)
        slot_mean, slot_log_std = (mean + log_scale.exp() * noise).chunk(2, dim=2)
        return SlotState(slot_mean, 2 * slot_log_std)

    def distribution(
        self, features: Features
    ) -> tuple[Float[Tensor, 'B 1 E'], Float[Tensor, 'B 1 E']]:
        """Return mean and log-scale of an image's Gaussian over (mean, log standard deviation)."""
        tokens = features.tokens
        if tokens.shape[2] != self.in_channels:
            raise ValueError(
                f'TransformerSlots was built for tokens of {self.in_channels} channels, got '
                f'{tokens.shape[2]}; set in_channels of the initializer.'
            )
        own = torch.cat([self.mean_token, self.scale_token], dim=1).expand(tokens.shape[0], -1, -1)
        padding = None
        if features.mask is not None:
            # True where PyTorch is to look away, and never for the two tokens.
            padding = nn.functional.pad(~features.mask, (own.shape[1], 0), value=False)
        tokens = torch.cat([own.to(tokens.dtype), tokens], dim=1)
        tokens = self.transformer(tokens, src_key_padding_mask=padding)
        mean, log_scale = self.to_mean(tokens[:, :1]), self.to_log_scale(tokens[:, 1:2])
        return at_least_float32(mean), at_least_float32(log_scale)


def _mlp(in_channels: int, hidden_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(in_channels, hidden_channels),
        nn.ReLU(inplace=True),
        nn.Linear(hidden_channels, out_channels),
    )
