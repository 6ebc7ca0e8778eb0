import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmocl.models.initializers import SlotInitializer
from mmocl.models.layers import weighted_variance
from mmocl.models.slot_heads.absorption import absorbing_saves
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
class ProbabilisticSlotAttention(SlotHead):
    """Probabilistic Slot Attention (PSA), `arXiv:2406.07141 <https://arxiv.org/abs/2406.07141>`_.

    Expectation maximisation of a diagonal Gaussian mixture over the tokens of one image; the means
    are the slots, ``state`` holds variances and mixing weights too. The paper's algorithms are

    - Algorithm 2, "PSA": ``projections='q', normalize=False, variance_space='value',
      logit_scale=1, min_var=0``;
    - Algorithm 1, "PSA-PROJ": the same with ``projections='qkv'``.

    Deviations from both: the first means come from the initializer (the paper draws N(0, I)), and
    slots are the means unless ``slot_output='sample'`` (the paper's Eq. 6; its released code takes
    the means).
    The defaults deviate further: tokens and means are layer-normed, the summed log-density is
    scaled by D^-0.5 (unscaled it makes responsibilities one-hot), and the variance is measured in
    key space, around the query of the mean that the next E-step uses. ``update='gru_mlp'`` refines
    the mean as the released code does. What was tried, with figures: ``configs/psa/README.md``.
    The released code with its quirks: ``projects/as_released``.

    Args:
        initializer: See :class:`SlotHead`, as the next six.
        in_channels: Channels C of the tokens.
        slot_dim: Slot width D; that of the tokens if not given.
        num_iters: Number of EM steps T.
        gradient: ``'unrolled'``, ``'implicit'`` or ``'bilevel'``.
        extra_step: Do one EM step more.
        embed_channels: Hidden width of the MLP in front of the head, or None.
        projections: ``'none'``: keys and values are the tokens and the query is the mean (a
            textbook mixture); ``'q'``: only the mean is projected; ``'qkv'``: all three are.
        update: ``'em'``: the weighted mean of the values; ``'gru_mlp'``: GRU and MLP behind it.
        normalize: Layer-norm tokens and means before they are projected.
        variance: ``'mle'``: the weighted variance (as printed); ``'map'``: its posterior mode under
            the released code's Normal-inverse-Wishart prior, ``(S0 + N_k var) / (N_k + 2D + 4)``
            with ``S0 = token variance / K^(1/D)``. Deviation from that code: around the new mean.
        variance_space: ``'key'``: variance of the keys around the projected new mean; ``'value'``:
            variance of the values around the new mean (as printed).
        logit_scale: Factor of the log-density in the E-step; None is D^-0.5.
        init_var: Variance of every component before the first step.
        min_var: Added to every variance, relative to the mean variance of the image's tokens.
            Responsibilities agree with float64 to 1e-5 down to 1e-6 (float32).
        mlp_channels: Hidden width of the residual MLP.
        slot_output: ``'mean'``, or ``'sample'``: in training slots are drawn from their Gaussians;
            at test time they are the means.
        prune_threshold: Automatic relevance determination: slots whose mixing weight is not above
            it are neither decoded nor scored, but for the heaviest of an image; 0 keeps all.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: If an option is unknown or out of range, a width does not fit, or slots are to
            be sampled without a variance in their own space.
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
        projections: str = 'qkv',
        update: str = 'em',
        normalize: bool = True,
        variance: str = 'mle',
        variance_space: str = 'key',
        logit_scale: float | None = None,
        init_var: float = 1.0,
        min_var: float = 1e-3,
        mlp_channels: int = 128,
        slot_output: str = 'mean',
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
        for name, value, known in (
            ('projections', projections, ('none', 'q', 'qkv')),
            ('update', update, ('em', 'gru_mlp')),
            ('variance', variance, ('mle', 'map')),
            ('variance_space', variance_space, ('key', 'value')),
            ('slot_output', slot_output, ('mean', 'sample')),
        ):
            if value not in known:
                raise ValueError(f'{name} must be one of {known}, got {value!r}.')
        if projections != 'qkv' and self.token_dim != slot_dim:
            raise ValueError(
                f'projections={projections!r} takes tokens as they are, so slot_dim {slot_dim} '
                f"must be their width {self.token_dim}; set embed_channels or projections='qkv'."
            )
        self.projections = projections
        self.variance = variance
        self.variance_space = variance_space
        self.logit_scale = slot_dim**-0.5 if logit_scale is None else logit_scale
        check_options(prune_threshold, min_var, self.logit_scale)
        if not 0 < init_var < math.inf:
            raise ValueError(f'init_var must be finite and positive, got {init_var}.')
        self.init_log_var = math.log(init_var)
        self.min_var = min_var
        self.slot_output = slot_output
        self.prune_threshold = prune_threshold
        same_space = variance_space == 'value' or (projections == 'none' and not normalize)
        self.has_slot_posterior = same_space and update == 'em'
        if slot_output == 'sample' and not self.has_slot_posterior:
            raise ValueError(
                "slot_output='sample' needs variances in the space of the slots: "
                f"variance_space='value' and update='em', got {variance_space!r} and {update!r}."
            )
        identity = nn.Identity()
        self.norm_tokens = nn.LayerNorm(self.token_dim) if normalize else identity
        self.norm_slots = nn.LayerNorm(slot_dim) if normalize else identity
        self.to_query: nn.Module = identity
        self.to_key: nn.Module = identity
        self.to_value: nn.Module = identity
        if projections != 'none':
            self.to_query = nn.Linear(slot_dim, slot_dim, bias=False)
        if projections == 'qkv':
            self.to_key = nn.Linear(self.token_dim, slot_dim, bias=False)
            self.to_value = nn.Linear(self.token_dim, slot_dim, bias=False)
        self.update = SlotUpdate(slot_dim, mlp_channels) if update == 'gru_mlp' else None

    def project(
        self, tokens: Float[Tensor, 'B N C']
    ) -> tuple[Float[Tensor, 'B N D'], Float[Tensor, 'B N D']]:
        """Layer norm and linear maps, as far as they are switched on."""
        tokens = self.norm_tokens(tokens)
        return self.to_key(tokens), self.to_value(tokens)

    def prepare(
        self,
        features: Features,
        slot_mask: Bool[Tensor, 'B K'] | None,
        num_slots: int,
        num_updates: int,
    ) -> MixtureInputs:
        """Project the tokens, and take the spread of those whose variance is measured.

        Values are needed for their variance only: without it the means of the tokens are projected
        in their place where that is less work (:func:`absorbing_saves`), which is the same.
        """
        _, num_tokens, width = features.tokens.shape
        sizes = (num_tokens, num_slots, 1, width, self.slot_dim, num_updates)
        if (
            self.projections == 'qkv'
            and self.variance_space == 'key'
            # A subclass may do something else.
            and type(self).project is ProbabilisticSlotAttention.project
            and type(self).step is ProbabilisticSlotAttention.step
            and type(self.to_value) is nn.Linear
            and absorbing_saves(*sizes, self.gradient)
        ):
            tokens = self.norm_tokens(features.tokens)
            keys = self.to_key(tokens)
            inputs = SlotInputs(keys, tokens, features.mask, slot_mask, absorbed=True)
        else:
            inputs = super().prepare(features, slot_mask, num_slots, num_updates)
        with_token_var = self.variance == 'map'
        return as_mixture_inputs(inputs, self.min_var, self.variance_space, with_token_var)

    def complete(self, state: SlotState) -> SlotState:
        """Add variances ``init_var`` and equal weights, unless the initializer gave its own."""
        return as_mixture(state, self.init_log_var)

    def query(self, mean: Float[Tensor, 'B K D']) -> Float[Tensor, 'B K D']:
        """Bring means to key space."""
        return self.to_query(self.norm_slots(mean))

    def step(
        self, state: SlotState, inputs: SlotInputs
    ) -> tuple[SlotState, Float[Tensor, 'B K N']]:
        """One E-step and one M-step."""
        assert state.log_var is not None
        assert state.log_weight is not None
        assert isinstance(inputs, MixtureInputs)
        keys, values = inputs.keys, inputs.values
        with torch.autocast(keys.device.type, enabled=False):
            log_attn = find_responsibilities(
                keys,
                self.query(state.mean),
                state.log_var,
                state.log_weight,
                self.logit_scale,
                inputs.slot_mask,
            )
            weights, log_count = share(log_attn, inputs.token_mask)
            mean = weights @ values
            if inputs.absorbed:
                mean = self.to_value(mean)
            if self.update is not None:
                mean = self.update(mean, state.mean)
            points, center = (
                (keys, self.query(mean)) if self.variance_space == 'key' else (values, mean)
            )
            variance = weighted_variance(points, weights, center)
            if self.variance == 'map':
                count = log_count.exp()[:, :, None]
                dim = mean.shape[2]
                num_slots: Tensor | int = mean.shape[1]
                if inputs.slot_mask is not None:
                    num_slots = inputs.slot_mask.sum(dim=1).to(mean.dtype)[:, None, None]
                assert inputs.token_var is not None
                prior = inputs.token_var / num_slots ** (1 / dim)
                variance = (prior + count * variance) / (count + 2 * dim + 4)
            variance = variance + inputs.floor
            # The sum of the counts is the number of tokens, masked ones left out.
            new = SlotState(mean, variance.log(), log_count.log_softmax(dim=1))
            return new, hide(log_attn.exp(), inputs.token_mask)

    def to_slots(self, state: SlotState) -> Float[Tensor, 'B K D']:
        """Return the means, or draws around them."""
        if self.slot_output == 'mean' or not self.training:
            return state.mean
        assert state.log_var is not None
        return state.mean + (0.5 * state.log_var).exp() * torch.randn_like(state.mean)

    def find_active(self, state: SlotState) -> Bool[Tensor, 'B K'] | None:
        """Find the slots that ``prune_threshold`` keeps."""
        assert state.log_weight is not None
        return relevant(state.log_weight, self.prune_threshold)
