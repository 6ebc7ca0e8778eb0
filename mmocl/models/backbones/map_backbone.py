import logging
from typing import Any

import torch
from jaxtyping import Float
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmocl.models.layers import choose_map, map_features
from mmocl.registry import MODELS
from mmocl.structures import Features

# A multiple of the strides of usual backbones; those with positions resize them to it.
PROBE_SIZE = 64


@MODELS.register_module()
class MapBackbone(BaseModule):
    """A backbone that gives maps, such as those of mmsegmentation, as a backbone of slots.

    Models wrap backbones without ``out_channels`` in it by themselves; name it to freeze one, or to
    choose a level. Layers that do not lead to the level get no gradient, which DDP waits for: let
    a backbone that is trained end there (``num_stages``, ``out_indices``).

    Args:
        backbone: Images to a tuple or list of maps (B, C, h, w), or to one map; e.g.
            ``dict(type='mmseg.ResNetV1c', depth=18, ...)``. Its ``init_cfg`` works as anywhere.
        level: Which of the maps gives the tokens; negative counts from the last.
        frozen: No gradient, and always in evaluation mode.
        output: ``'tokens'`` gives :class:`Features` of the level; ``'maps'`` a tuple with all maps,
            as segmentation heads expect.
        out_channels: Channels of the level. If not given, they are found by running the backbone
            on a small empty image.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: If the level does not exist, or the backbone gives something else than maps.
    """

    def __init__(
        self,
        backbone: dict | nn.Module,
        level: int = -1,
        frozen: bool = False,
        output: str = 'tokens',
        out_channels: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if output not in ('tokens', 'maps'):
            raise ValueError(f"output must be 'tokens' or 'maps', got {output!r}.")
        self.level = level
        self.frozen = frozen
        self.output = output
        #: What the backbone was built from; None: it came built, and keeps its weights.
        self.config = backbone if isinstance(backbone, dict) else None
        self.backbone: Any = MODELS.build(backbone) if isinstance(backbone, dict) else backbone
        self.out_channels = self._probe() if out_channels is None else out_channels
        if frozen:
            self.backbone.requires_grad_(False)
            self.backbone.eval()

    def init_weights(self) -> None:
        """Draw or load the backbone's weights, unless it came built; the Runner calls this."""
        if self.config is None:
            return
        super().init_weights()
        named = any(self.config.get(key) for key in ('init_cfg', 'pretrained', 'checkpoint'))
        if self.frozen and not named:
            print_log(
                f'{type(self.backbone).__name__} is frozen with weights drawn at random: its '
                "config names none, as init_cfg=dict(type='Pretrained', checkpoint=...) does.",
                logger='current',
                level=logging.WARNING,
            )

    def train(self, mode: bool = True) -> 'MapBackbone':
        """Switch the mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(self, images: Float[Tensor, 'B 3 H W']) -> Features | tuple[Tensor, ...]:
        """Encode images."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps = self._maps(images)
        return maps if self.output == 'maps' else map_features(maps[self.level])

    def _maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Run the backbone and make sure that it gives maps, and the level among them."""
        name = type(self.backbone).__name__
        given = self.backbone(images)
        maps = (given,) if isinstance(given, Tensor) else given
        if not isinstance(maps, tuple | list) or not all(
            isinstance(one, Tensor) and one.ndim == 4 for one in maps
        ):
            raise ValueError(
                f'MapBackbone needs a backbone that gives maps (B, C, h, w), but {name} gives '
                f'{_describe(given)}.'
            )
        choose_map(maps, self.level, f'level of the MapBackbone around {name}')
        return tuple(maps)

    def _probe(self) -> int:
        """Find the channels of the level without leaving a trace in the backbone."""
        modes = {module: module.training for module in self.backbone.modules()}
        first = next(self.backbone.parameters(), torch.empty(0))
        image = first.new_zeros(1, 3, PROBE_SIZE, PROBE_SIZE)
        self.backbone.eval()
        try:
            devices = [first.device] if first.is_cuda else []
            with torch.no_grad(), torch.random.fork_rng(devices):
                return self._maps(image)[self.level].shape[1]
        except (RuntimeError, AssertionError) as error:
            raise ValueError(
                f'{type(self.backbone).__name__} does not run on an image of '
                f'{PROBE_SIZE}x{PROBE_SIZE}, by which MapBackbone finds its channels ({error}); '
                'give out_channels.'
            ) from error
        finally:
            for module, mode in modes.items():
                module.training = mode


def _describe(given: Any) -> str:
    if isinstance(given, Tensor):
        return f'a tensor of {given.ndim} axes'
    if isinstance(given, tuple | list):
        return f'{type(given).__name__}({", ".join(map(_describe, given))})'
    return type(given).__name__
