from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmocl.models.layers import at_least_float32
from mmocl.registry import MODELS
from mmocl.structures import Decoded, ObjectProperty, Target


@MODELS.register_module()
class PropertyDecoder(BaseModule):
    """Read the properties of one object from every slot, and whether there is one.

    Set prediction of Slot Attention, `arXiv:2006.15055 <https://arxiv.org/abs/2006.15055>`_, as in
    SMM, `arXiv:2311.04640 <https://arxiv.org/abs/2311.04640>`_: one MLP for the coordinates, one
    for all else, both with one hidden layer. Categories are a softmax, all else a sigmoid. The
    P numbers of a slot are those of ``properties`` in their order, and the probability of a real
    object last: for CLEVR coordinates 3, size 2, material 2, shape 3, colour 8, real 1, which
    makes 19. Inactive slots predict zeros, which is no object.

    Args:
        slot_dim: Slot width D.
        properties: What is predicted: dicts with ``name`` (field of ``gt_objects``), ``size``,
            ``kind`` and maybe ``low``, ``high``, ``first``, see :class:`ObjectProperty`.
        hidden_channels: Hidden width of both MLPs.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: If there are no properties, or their names are not different or hold 'score',
            or one is malformed.
    """

    has_masks = False
    shape = 'set'

    def __init__(
        self,
        slot_dim: int,
        properties: Sequence[dict | ObjectProperty],
        hidden_channels: int = 64,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.properties = tuple(ObjectProperty.from_config(prop) for prop in properties)
        names = [prop.name for prop in self.properties]
        if not names or len({*names, 'score'}) != len(names) + 1:
            raise ValueError(
                'properties need different names, none of them the reserved "score", and there '
                f'must be one at least; got {names}.'
            )
        num_coordinates = sum(p.size for p in self.properties if p.kind == 'coordinate')
        #: How many numbers P stand for an object.
        self.num_numbers = sum(prop.size for prop in self.properties) + 1
        self.to_coordinates: nn.Module | None = None
        if num_coordinates:
            self.to_coordinates = _mlp(slot_dim, hidden_channels, num_coordinates)
        num_others = self.num_numbers - num_coordinates
        self.to_others = _mlp(slot_dim, hidden_channels, num_others)

    def forward(
        self,
        slots: Float[Tensor, 'B K D'],
        target: Target | None = None,
        active: Bool[Tensor, 'B K'] | None = None,
    ) -> Decoded:
        """Predict a set.

        Args:
            slots: Slots of all images.
            target: Unused.
            active: True for the slots that may be objects (None: all).

        Returns:
            ``recon`` holds the numbers (B, K, P), in float32 at least.
        """
        logits = [at_least_float32(self.to_others(slots))]
        if self.to_coordinates is not None:
            logits.append(at_least_float32(self.to_coordinates(slots)))
        # Where the next property of each kind starts.
        starts = [0, 0]
        numbers = []
        for prop in self.properties:
            head = int(prop.kind == 'coordinate')
            start, starts[head] = starts[head], starts[head] + prop.size
            numbers.append(prop.activate(logits[head][..., start : starts[head]]))
        numbers.append(logits[0][..., -1:].sigmoid())
        recon = torch.cat(numbers, dim=-1)
        if active is not None:
            recon = recon * active[..., None]
        return Decoded(recon)

    def encode(self, objects: InstanceData) -> Float[Tensor, 'M {self.num_numbers}']:
        """Turn true objects into the numbers to predict.

        Raises:
            ValueError: If a property is missing, or does not have the size or the labels that it
                was declared with.
        """
        missing = [prop.name for prop in self.properties if prop.name not in objects]
        if missing:
            raise ValueError(
                f'decoder.properties name {missing}, but gt_objects hold {sorted(objects.keys())}.'
            )
        numbers = [prop.encode(objects[prop.name]) for prop in self.properties]
        return torch.cat([*numbers, torch.ones(len(objects), 1)], dim=1)

    def read(self, numbers: Float[Tensor, 'K P']) -> InstanceData:
        """Turn predicted numbers into properties by name, as in the data, and ``score`` (K,)."""
        parts = numbers.split([*(prop.size for prop in self.properties), 1], dim=1)
        values = {p.name: p.decode(x) for p, x in zip(self.properties, parts[:-1], strict=True)}
        return InstanceData(**values, score=numbers[:, -1])


def _mlp(in_channels: int, hidden_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(in_channels, hidden_channels),
        nn.ReLU(inplace=True),
        nn.Linear(hidden_channels, out_channels),
    )
