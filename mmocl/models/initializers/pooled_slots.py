from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mmocl.models.initializers.base import SlotInitializer
from mmocl.models.layers import at_least_float32
from mmocl.registry import MODELS
from mmocl.structures import Features, SlotState


@MODELS.register_module()
class PooledSlots(SlotInitializer):
    """All slots of an image by one MLP from its averaged tokens.

    With :class:`InitialSlots`, which leaves slots as they start, this is an auto-encoder whose code
    is cut into K parts, such as the baseline "AE" of Probabilistic Slot Attention,
    `arXiv:2406.07141 <https://arxiv.org/abs/2406.07141>`_. In front of another head it is a start
    that depends on the image; it learns with ``gradient='bilevel'`` or ``'unrolled'`` there, and
    ``'implicit'`` freezes it.

    Tokens are averaged in ``pool_size`` x ``pool_size`` regions of their grid and go through two
    layers together. Masked tokens are left out; a region without any other is zero. The paper does
    not say what its AE is; its released code gives all slots one Gaussian, computed from the mean
    token, and lets them attend to the tokens once, which is not an auto-encoder of fixed parts.

    Args:
        num_slots: Number of slots K.
        slot_dim: Slot width D.
        in_channels: Channels C of the tokens as the head embeds them; D if not given.
        pool_size: Regions along height and width.
        hidden_channels: Hidden width of the MLP.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: If ``pool_size`` or ``hidden_channels`` is less than 1.
    """

    def __init__(
        self,
        num_slots: int,
        slot_dim: int,
        in_channels: int | None = None,
        pool_size: int = 4,
        hidden_channels: int = 128,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(num_slots, slot_dim, init_cfg)
        for key, value in {'pool_size': pool_size, 'hidden_channels': hidden_channels}.items():
            if value < 1:
                raise ValueError(f'{key} of PooledSlots must be at least 1, got {value}.')
        self.in_channels = slot_dim if in_channels is None else in_channels
        self.pool_size = pool_size
        self.to_slots = nn.Sequential(
            nn.Linear(self.in_channels * pool_size**2, hidden_channels),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_channels, num_slots * slot_dim),
        )

    def forward(
        self,
        features: Features,
        num_slots: int | None = None,
        noise: Float[Tensor, '...'] | None = None,
    ) -> SlotState:
        """Compute the initial slots.

        Raises:
            ValueError: If ``num_slots`` is not the own number, tokens have another width than
                ``in_channels``, or there is noise to use.
        """
        num_slots = self.count(num_slots, fixed=True)
        if noise is not None:
            raise ValueError('PooledSlots draws nothing, so it cannot use the given noise.')
        if features.tokens.shape[2] != self.in_channels:
            raise ValueError(
                f'PooledSlots was built for tokens of {self.in_channels} channels, got '
                f'{features.tokens.shape[2]}; set in_channels of the initializer.'
            )
        slots = self.to_slots(self._pool(features).flatten(1))
        return SlotState(at_least_float32(slots).unflatten(1, (num_slots, self.slot_dim)))

    def _pool(self, features: Features) -> Float[Tensor, 'B C p p']:
        """Average the tokens of every region."""
        maps = features.tokens.transpose(1, 2).unflatten(2, features.grid)
        if features.mask is None:
            return functional.adaptive_avg_pool2d(maps, self.pool_size)
        # A head's embedding gives blanked tokens values again.
        there = features.mask[:, None].unflatten(2, features.grid)
        total = functional.adaptive_avg_pool2d(maps.masked_fill(~there, 0), self.pool_size)
        share = functional.adaptive_avg_pool2d(there.to(maps.dtype), self.pool_size)
        return total / share.masked_fill(share == 0, 1)
