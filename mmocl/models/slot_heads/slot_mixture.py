import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmocl.models.initializers import SlotInitializer
from mmocl.models.layers import weighted_variance
from mmocl.models.slot_heads.base import SlotHead
from mmocl.models.slot_heads.mixture import (
    MixtureInputs,
    as_mixture,
    as_mixture_inputs,
    check_options,
    find_responsibilities,
    hide,
    relevant,
    share,
)
from mmocl.models.slot_heads.slot_update import SlotUpdate
from mmocl.registry import MODELS
from mmocl.structures import Features, SlotInputs, SlotState


@MODELS.register_module()
class SlotMixture(SlotHead):
    """Slot Mixture Module (SMM), `arXiv:2311.04640 <https://arxiv.org/abs/2311.04640>`_.

    A Gaussian mixture over the tokens whose means pass a GRU and an MLP in every step; a slot is a
    projection of its mean and log standard deviation. Both halves are layer-normed together and
    brought to key space by one query projection; the GRU's hidden state is the normed mean; the
    variance is that of the values around the updated mean.

    This is the method as the paper has it. Deviations from the released code, whose own form is in
    ``projects/as_released``: the density is a Gaussian's, with its log-determinant; mixing weights
    come from responsibilities before these are normalised over tokens (there they never leave 1/K);
    no transformer replaces the tokens (``TransformerSlots`` gives its image-conditioned start).
    The paper does one more, detached step: ``gradient='implicit', extra_step=True``.

    Args:
        initializer: See :class:`SlotHead`, as the next six; its ``log_var`` is used if given.
        in_channels: Channels C of the tokens.
        slot_dim: Slot width D; that of the tokens if not given.
        num_iters: Number of steps.
        gradient: ``'unrolled'``, ``'implicit'`` or ``'bilevel'``.
        extra_step: Do one step more.
        embed_channels: Hidden width of the MLP in front of the head, or None.
        mlp_channels: Hidden width of the residual MLP; the output MLP has twice as many.
        logit_scale: Factor of the log-density in the E-step.
        min_var: Added to every variance in the E-step, relative to the mean variance of the image's
            keys; 0 is as printed. Responsibilities agree with float64 to 1e-5 down to 1e-6
            (float32).
        prune_threshold: Slots whose mixing weight is not above it are neither decoded nor scored,
            but for the heaviest of an image; 0 keeps all.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: If an option is out of range.
    """

    # Of the released code: keeps the log of a vanishing variance finite.
    EPS = 1e-8

    def __init__(
        self,
        initializer: dict | SlotInitializer,
        in_channels: int,
        slot_dim: int | None = None,
        num_iters: int = 3,
        gradient: str = 'unrolled',
        extra_step: bool = False,
        embed_channels: int | None = None,
        mlp_channels: int = 128,
        logit_scale: float = 1.0,
        min_var: float = 1e-3,
        prune_threshold: float = 0.0,
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
            init_cfg=init_cfg,
        )
        slot_dim = self.slot_dim
        check_options(prune_threshold, min_var, logit_scale)
        self.logit_scale = logit_scale
        self.min_var = min_var
        self.prune_threshold = prune_threshold
        self.norm_tokens = nn.LayerNorm(self.token_dim)
        self.norm_slots = nn.LayerNorm(2 * slot_dim)
        self.to_query = nn.Linear(slot_dim, slot_dim, bias=False)
        self.to_key = nn.Linear(self.token_dim, slot_dim, bias=False)
        self.to_value = nn.Linear(self.token_dim, slot_dim, bias=False)
        self.update = SlotUpdate(slot_dim, mlp_channels)
        self.to_output = nn.Sequential(
            nn.Linear(2 * slot_dim, 2 * mlp_channels),
            nn.ReLU(inplace=True),
            nn.Linear(2 * mlp_channels, slot_dim),
        )

    def project(
        self, tokens: Float[Tensor, 'B N C']
    ) -> tuple[Float[Tensor, 'B N D'], Float[Tensor, 'B N D']]:
        """Layer norm, then linear maps without bias.

        Both are needed for all tokens, for distances and for variances; no map can be left to the
        slots as in :class:`SlotAttention`.
        """
        tokens = self.norm_tokens(tokens)
        return self.to_key(tokens), self.to_value(tokens)

    def prepare(
        self,
        features: Features,
        slot_mask: Bool[Tensor, 'B K'] | None,
        num_slots: int,
        num_updates: int,
    ) -> MixtureInputs:
        """Project the tokens, and take the spread of the keys."""
        inputs = super().prepare(features, slot_mask, num_slots, num_updates)
        return as_mixture_inputs(inputs, self.min_var)

    def complete(self, state: SlotState) -> SlotState:
        """Add unit variances, unless the initializer gave its own, and equal weights."""
        return as_mixture(state, 0.0)

    def step(
        self, state: SlotState, inputs: SlotInputs
    ) -> tuple[SlotState, Float[Tensor, 'B K N']]:
        """One E-step, and one M-step with GRU and MLP."""
        assert state.log_weight is not None
        assert isinstance(inputs, MixtureInputs)
        keys, values = inputs.keys, inputs.values
        with torch.autocast(keys.device.type, enabled=False):
            mean, log_std = self.norm_slots(_mean_and_log_std(state)).chunk(2, dim=2)
            # The state's variance passed a projection, so the floor has to be laid here.
            log_var = torch.logaddexp(2 * self.to_query(log_std), inputs.floor.log())
            log_attn = find_responsibilities(
                keys,
                self.to_query(mean),
                log_var,
                state.log_weight,
                self.logit_scale,
                inputs.slot_mask,
            )
            weights, log_count = share(log_attn, inputs.token_mask)
            mean = self.update(weights @ values, mean)
            variance = weighted_variance(values, weights, mean) + self.EPS
            # The sum of the counts is the number of tokens, masked ones left out.
            new = SlotState(mean, variance.log(), log_count.log_softmax(dim=1))
            return new, hide(log_attn.exp(), inputs.token_mask)

    def to_slots(self, state: SlotState) -> Float[Tensor, 'B K D']:
        """Project mean and log standard deviation to a slot."""
        return self.to_output(_mean_and_log_std(state))

    def find_active(self, state: SlotState) -> Bool[Tensor, 'B K'] | None:
        """Find the slots that ``prune_threshold`` keeps."""
        assert state.log_weight is not None
        return relevant(state.log_weight, self.prune_threshold)


def _mean_and_log_std(state: SlotState) -> Float[Tensor, 'B K E']:
    assert state.log_var is not None
    return torch.cat([state.mean, 0.5 * state.log_var], dim=2)
