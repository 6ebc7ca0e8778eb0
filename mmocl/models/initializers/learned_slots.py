import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmocl.models.initializers.base import SlotInitializer
from mmocl.registry import MODELS
from mmocl.structures import Features, SlotState


@MODELS.register_module()
class LearnedSlots(SlotInitializer):
    """Slots start from learned queries, the same for every image but for noise in training.

    BO-QSA, `arXiv:2210.08990 <https://arxiv.org/abs/2210.08990>`_. The queries learn with
    ``gradient='bilevel'`` or ``'unrolled'`` of the slot head. The paper's noise is zero-mean with a
    scale ``sigma`` that falls to zero over the first 30,000 steps (``AttributeAnnealingHook``); its
    released code multiplies it with the (detached) query. Deviation from that code: it validates
    with the noise of training, here noise is for training only.

    Args:
        num_slots: Number of slots K.
        slot_dim: Slot width D.
        sigma: Scale of the noise; the hook changes this attribute.
        noise_mode: ``'additive'`` (paper): ``q + sigma z``; ``'multiplicative'`` (released code):
            ``q + sigma z |q|`` in distribution, the factor detached.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        num_slots: int,
        slot_dim: int,
        sigma: float = 0.0,
        noise_mode: str = 'additive',
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(num_slots, slot_dim, init_cfg)
        if noise_mode not in ('additive', 'multiplicative'):
            raise ValueError(
                f"noise_mode must be 'additive' or 'multiplicative', got {noise_mode!r}."
            )
        if sigma < 0:
            raise ValueError(f'sigma must not be negative, got {sigma}.')
        self.sigma = sigma
        self.noise_mode = noise_mode
        self.queries = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, num_slots, slot_dim)))

    def forward(
        self,
        features: Features,
        num_slots: int | None = None,
        noise: Float[Tensor, '...'] | None = None,
    ) -> SlotState:
        """Return the queries for every image of the batch, with noise while training.

        Given ``noise`` is used in any mode.

        Raises:
            ValueError: If ``num_slots`` is not the number of queries, or ``noise`` has another
                shape than the slots.
        """
        self.count(num_slots, fixed=True)
        slots = self.queries.expand(features.tokens.shape[0], -1, -1)
        if noise is not None or (self.training and self.sigma > 0):
            scale = self.queries.detach() if self.noise_mode == 'multiplicative' else 1.0
            slots = slots + self.sigma * self.draw(slots, tuple(slots.shape), noise) * scale
        return SlotState(slots)
