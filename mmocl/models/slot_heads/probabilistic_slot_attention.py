import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmocl.models.layers import diagonal_log_density, weighted_variance
from mmocl.models.slot_heads.base import SlotHead
from mmocl.models.slot_heads.slot_update import SlotUpdate
from mmocl.registry import MODELS
from mmocl.structures import SlotState


@MODELS.register_module()
class ProbabilisticSlotAttention(SlotHead):
    """Probabilistic Slot Attention (PSA), `arXiv:2406.07141 <https://arxiv.org/abs/2406.07141>`_.

    Expectation maximisation of a diagonal Gaussian mixture over the tokens of one image; the means
    are the slots, ``state`` holds variances and mixing weights too. The paper's algorithms are

    - Algorithm 2, "PSA": ``projections='q', normalize=False, variance_space='value',
      logit_scale=1, min_var=0``;
    - Algorithm 1, "PSA-PROJ": the same with ``projections='qkv'``.

    Deviations from both: the first means come from the initializer (the paper draws N(0, I)), and
    slots are the means (the paper's Eq. 6 samples them; its released code does not).
    The defaults deviate further: tokens and means are layer-normed, the summed log-density is
    scaled by D^-0.5 (unscaled it makes responsibilities one-hot), and the variance is measured in
    key space, around the query of the mean that the next E-step uses. ``update='gru_mlp'`` refines
    the mean as the released code does. What was tried, with figures: ``configs/psa/README.md``.

    Args:
        initializer: See :class:`SlotHead`, as the next five.
        in_channels: Channels C of the tokens.
        slot_dim: Slot width D; that of the tokens if not given.
        num_iters: Number of EM steps T.
        gradient: ``'unrolled'``, ``'implicit'`` or ``'bilevel'``.
        embed_channels: Hidden width of the MLP in front of the head, or None.
        projections: ``'none'``: keys and values are the tokens and the query is the mean (a
            textbook mixture); ``'q'``: only the mean is projected; ``'qkv'``: all three are.
        update: ``'em'``: the weighted mean of the values; ``'gru_mlp'``: GRU and MLP behind it.
        normalize: Layer-norm tokens and means before they are projected.
        variance_space: ``'key'``: variance of the keys around the projected new mean; ``'value'``:
            variance of the values around the new mean (as printed).
        logit_scale: Factor of the log-density in the E-step; None is D^-0.5.
        init_var: Variance of every component before the first step.
        min_var: Added to every variance, relative to the mean variance of the image's tokens.
        mlp_channels: Hidden width of the residual MLP.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        initializer: dict | nn.Module,
        in_channels: int,
        slot_dim: int | None = None,
        num_iters: int = 3,
        gradient: str = 'unrolled',
        embed_channels: int | None = None,
        projections: str = 'qkv',
        update: str = 'em',
        normalize: bool = True,
        variance_space: str = 'key',
        logit_scale: float | None = None,
        init_var: float = 1.0,
        min_var: float = 1e-3,
        mlp_channels: int = 128,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            initializer, in_channels, slot_dim, num_iters, gradient, embed_channels, init_cfg
        )
        slot_dim = self.slot_dim
        for name, value, known in (
            ('projections', projections, ('none', 'q', 'qkv')),
            ('update', update, ('em', 'gru_mlp')),
            ('variance_space', variance_space, ('key', 'value')),
        ):
            if value not in known:
                raise ValueError(f'{name} must be one of {known}, got {value!r}.')
        if projections != 'qkv' and self.token_dim != slot_dim:
            raise ValueError(
                f'projections={projections!r} takes tokens as they are, so slot_dim {slot_dim} '
                f"must be their width {self.token_dim}; set embed_channels or projections='qkv'."
            )
        self.variance_space = variance_space
        self.logit_scale = slot_dim**-0.5 if logit_scale is None else logit_scale
        self.init_log_var = math.log(init_var)
        self.min_var = min_var
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

    def complete(self, state: SlotState) -> SlotState:
        """Add variances ``init_var`` and equal weights, unless the initializer gave its own."""
        num_slots = state.mean.shape[1]
        log_var, log_weight = state.log_var, state.log_weight
        if log_var is None:
            log_var = torch.full_like(state.mean, self.init_log_var)
        if log_weight is None:
            log_weight = state.mean.new_full(state.mean.shape[:2], -math.log(num_slots))
        return SlotState(state.mean, log_var, log_weight)

    def query(self, mean: Float[Tensor, 'B K D']) -> Float[Tensor, 'B K D']:
        """Bring means to key space."""
        return self.to_query(self.norm_slots(mean))

    def step(
        self, state: SlotState, keys: Float[Tensor, 'B N D'], values: Float[Tensor, 'B N D']
    ) -> tuple[SlotState, Float[Tensor, 'B K N']]:
        """One E-step and one M-step."""
        assert state.log_var is not None
        assert state.log_weight is not None
        # Densities of many dimensions do not fit into half types.
        with torch.autocast(keys.device.type, enabled=False):
            keys, values = _at_least_float32(keys), _at_least_float32(values)
            log_density = diagonal_log_density(keys, self.query(state.mean), state.log_var)
            logits = self.logit_scale * log_density + state.log_weight[:, :, None]
            # In logs, so that a slot without tokens keeps finite weights and variances.
            log_attn = logits.log_softmax(dim=1)
            log_count = log_attn.logsumexp(dim=2)
            weights = (log_attn - log_count[:, :, None]).exp()
            mean = weights @ values
            if self.update is not None:
                mean = self.update(mean, state.mean)
            points, center = (
                (keys, self.query(mean)) if self.variance_space == 'key' else (values, mean)
            )
            spread = points.var(dim=1, keepdim=True, correction=0).mean(dim=2, keepdim=True)
            floor = self.min_var * spread + torch.finfo(points.dtype).tiny
            variance = weighted_variance(points, weights, center)
            log_weight = log_count - math.log(keys.shape[1])
            return SlotState(mean, (variance + floor).log(), log_weight), log_attn.exp()


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
