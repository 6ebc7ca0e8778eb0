from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmocl.models.building import build_part
from mmocl.models.layers import choose_map, map_features, token_map
from mmocl.registry import MODELS


@MODELS.register_module()
class SlotNeck(BaseModule):
    """A slot head between backbone and head of mmsegmentation, trained with them.

    It adds a map to those of the backbone, as the last one: at every token the slots, mixed by its
    attention, ``slot_dim`` channels. A head has to use it (``in_index=-1``), else DDP waits for its
    gradient. Necks are not told of padding, which so takes part: take crops without.

    Args:
        slot_head: Tokens to slots, see ``SlotAutoencoder``.
        in_channels: Channels of the map that the slots look at.
        in_index: Which of the maps that is; negative counts from the last.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: In a forward, if there is no such map.
    """

    def __init__(
        self,
        slot_head: dict | nn.Module,
        in_channels: int,
        in_index: int = -1,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.slot_head: Any = build_part(slot_head, in_channels=in_channels)
        self.in_index = in_index
        self.out_channels = self.slot_head.slot_dim

    def forward(self, maps: tuple[Tensor, ...] | list[Tensor]) -> tuple[Tensor, ...]:
        """Return the maps and the new one."""
        features = map_features(choose_map(maps, self.in_index, 'in_index of SlotNeck'))
        return (*maps, token_map(features, self.slot_head(features), 'slots'))
