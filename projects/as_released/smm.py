import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmocl.models.initializers import SlotInitializer
from mmocl.models.layers import at_least_float32, weighted_variance
from mmocl.models.slot_heads import SlotMixture
from mmocl.registry import MODELS
from mmocl.structures import SlotInputs, SlotState
from projects.as_released.smm_front import SMMFront
from projects.as_released.smm_front_slots import ReleasedSMMFrontSlots


@MODELS.register_module()
class ReleasedSMM(SlotMixture):
    """Slot Mixture Module, `arXiv:2311.04640`_, as its released code has it.

    Reproduces ``SelfAttentionGMM`` and, with ``fair``, ``FairGMM`` of AIRI-Institute/smm at
    0c724f6. Deviations from the paper's form, which is :class:`SlotMixture` (``README.md`` of this
    folder has them side by side):

    - The density is ``exp(-d) + 1e-8``, ``d`` the squared Mahalanobis distance times D^-0.5 (times
      1 if ``fair``): no factor 1/2, and no determinant that makes a wide slot pay.
    - Mixing weights are counted after responsibilities were normalised over tokens and so are
      always 1/K. With ``fair`` they are counted before, as they should be.
    - With ``fair`` values are the keys; ``to_value`` is unused.
    - With ``ReleasedSMMFrontSlots`` a transformer replaces the tokens, whose start it gives too.
    - After ``num_iters`` steps comes one more on detached means and variances. The weights keep
      their gradient there: with ``fair`` the earlier steps learn through them, else they get
      rounding errors.

    Deviations from the release: the attention that is returned sums to one over slots, before it is
    normalised over tokens; weights sum to one (in ``FairGMM`` they sum to N, a factor that its
    E-step cancels); masks are refused.

    Args:
        initializer: See :class:`SlotHead`, as the next three; ``ReleasedSMMFrontSlots``, or
            ``ReleasedSMMSlots`` if ``fair``.
        in_channels: Channels C of the tokens.
        slot_dim: Slot width D; that of the tokens if not given.
        num_iters: Number of steps before the last.
        embed_channels: Hidden width of the MLP in front of the head, or None.
        mlp_channels: Hidden width of the residual MLP; the output MLP has twice as many.
        fair: ``FairGMM``.
        front: Arguments of :class:`SMMFront`, if the initializer needs it.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: If a front gets tokens that are not as wide as slots, or a mask is given.

    .. _arXiv:2311.04640: https://arxiv.org/abs/2311.04640
    """

    def __init__(
        self,
        initializer: dict | SlotInitializer,
        in_channels: int,
        slot_dim: int | None = None,
        num_iters: int = 3,
        embed_channels: int | None = None,
        mlp_channels: int = 128,
        fair: bool = False,
        front: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            initializer,
            in_channels,
            slot_dim,
            num_iters,
            extra_step=True,
            embed_channels=embed_channels,
            mlp_channels=mlp_channels,
            init_cfg=init_cfg,
        )
        self.fair = fair
        self.logit_scale = 1.0 if fair else self.slot_dim**-0.5
        self.has_front = isinstance(self.initializer, ReleasedSMMFrontSlots)
        if self.has_front:
            if self.token_dim != self.slot_dim:
                raise ValueError(
                    f'ReleasedSMMFrontSlots needs tokens as wide as slots, {self.slot_dim}, got '
                    f'{self.token_dim}; set slot_dim or embed_channels.'
                )
            self.embed = nn.Sequential(self.embed, SMMFront(self.token_dim, **(front or {})))

    def project(
        self, tokens: Float[Tensor, 'B N C']
    ) -> tuple[Float[Tensor, 'B M D'], Float[Tensor, 'B M D']]:
        """Layer norm, then linear maps; the front's own two tokens only served the start."""
        keys, values = super().project(tokens[:, 2:] if self.has_front else tokens)
        return keys, keys if self.fair else values

    def _iterate(
        self,
        init: SlotState,
        inputs: SlotInputs,
        num_updates: int,
        steps: list[tuple[SlotState, Tensor]] | None,
    ) -> tuple[SlotState, Float[Tensor, 'B K N']]:
        """Detach means and variances before the last step, and not the weights."""
        state, attn = super()._iterate(init, inputs, num_updates - 1, steps)
        if steps is not None:
            steps.append((state, attn))
        assert state.log_var is not None
        detached = SlotState(state.mean.detach(), state.log_var.detach(), state.log_weight)
        return self.step(detached, inputs)

    def step(
        self, state: SlotState, inputs: SlotInputs
    ) -> tuple[SlotState, Float[Tensor, 'B K N']]:
        """Share tokens by distance, then move the means through GRU and MLP."""
        assert state.log_var is not None
        assert state.log_weight is not None
        if inputs.token_mask is not None or inputs.slot_mask is not None:
            raise ValueError('The released code of SMM knows no masks of tokens or slots.')
        with torch.autocast(inputs.keys.device.type, enabled=False):
            keys, values = at_least_float32(inputs.keys), at_least_float32(inputs.values)
            both = torch.cat([state.mean, 0.5 * state.log_var], dim=2)
            mean, log_std = self.norm_slots(both).chunk(2, dim=2)
            offset = keys[:, None] - self.to_query(mean)[:, :, None]
            std = self.to_query(log_std).exp()[:, :, None]
            distance = self.logit_scale * (offset / std).square().sum(dim=3)
            density = ((-distance).exp() + self.EPS) * state.log_weight.exp()[:, :, None]
            attn = density / density.sum(dim=1, keepdim=True)
            weights = attn / attn.sum(dim=2, keepdim=True)
            mean = self.update(weights @ values, mean)
            variance = weighted_variance(values, weights, mean) + self.EPS
            count = (attn if self.fair else weights).sum(dim=2)
            log_weight = (count / count.sum(dim=1, keepdim=True)).log()
            return SlotState(mean, variance.log(), log_weight), attn
