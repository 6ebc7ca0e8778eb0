from jaxtyping import Float
from torch import Tensor, nn

from mmocl.models.initializers import SlotInitializer
from mmocl.models.layers import at_least_float32
from mmocl.registry import MODELS
from mmocl.structures import Features, SlotState


@MODELS.register_module()
class ReleasedSMMFrontSlots(SlotInitializer):
    """Slots drawn from a Gaussian that the front transformer reads off the image.

    Where slots start in ``SelfAttentionGMM`` of the released code of SMM, `arXiv:2311.04640
    <https://arxiv.org/abs/2311.04640>`_: two MLPs D-H-2D turn the first two outputs of
    :class:`SMMFront` into mean and log-scale of a Gaussian over (mean, log standard deviation),
    one for all slots of an image.

    These MLPs hardly learn: slots are detached before the last step, and mixing weights, which are
    not, are constant. Their gradients are rounding errors, as in the release.

    Args:
        num_slots: Number of slots K.
        slot_dim: Slot width D, that of the tokens too.
        mlp_channels: Hidden width H.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        num_slots: int,
        slot_dim: int,
        mlp_channels: int = 128,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(num_slots, slot_dim, init_cfg)
        self.to_mean, self.to_log_scale = (
            nn.Sequential(
                nn.Linear(slot_dim, mlp_channels),
                nn.ReLU(inplace=True),
                nn.Linear(mlp_channels, 2 * slot_dim),
            )
            for _ in range(2)
        )

    @property
    def noise_channels(self) -> int:
        """Width of a mean and a log standard deviation."""
        return 2 * self.slot_dim

    def forward(
        self,
        features: Features,
        num_slots: int | None = None,
        noise: Float[Tensor, 'B K E'] | None = None,
    ) -> SlotState:
        """Draw means and log standard deviations; the first two tokens are those of the front."""
        tokens = features.tokens
        # The steps compute in float32, also under autocast.
        mean = at_least_float32(self.to_mean(tokens[:, :1]))
        log_scale = at_least_float32(self.to_log_scale(tokens[:, 1:2]))
        shape = (len(tokens), self.count(num_slots), 2 * self.slot_dim)
        noise = self.draw(mean, shape, noise)
        mean, log_std = (mean + log_scale.exp() * noise).chunk(2, dim=2)
        return SlotState(mean, 2 * log_std)
