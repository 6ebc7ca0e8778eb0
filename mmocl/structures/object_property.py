from __future__ import annotations

from dataclasses import dataclass, fields

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

KINDS = ('coordinate', 'value', 'category')


@dataclass(frozen=True)
class ObjectProperty:
    """One property of an object, and the numbers between -1 and 1 that stand for it.

    - ``'coordinate'``: ``size`` real values; ``low`` to ``high`` become -1 to 1.
    - ``'value'``: ``size`` real values; ``low`` to ``high`` become 0 to 1.
    - ``'category'``: one label of ``size`` classes, the first of which is ``first``; one-hot.

    Raises:
        ValueError: If ``kind`` is unknown, ``size`` is less than 1, or ``low`` is not below
            ``high``.
    """

    #: Field of ``gt_objects`` and ``pred_set``.
    name: str
    size: int
    kind: str
    low: float = 0.0
    high: float = 1.0
    first: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f'kind of property {self.name!r} must be in {KINDS}, got {self.kind}.')
        if self.size < 1:
            raise ValueError(f'size of property {self.name!r} must be at least 1, got {self.size}.')
        if not self.low < self.high:
            raise ValueError(
                f'property {self.name!r} needs low < high, got {self.low} and {self.high}.'
            )

    @classmethod
    def from_config(cls, config: dict | ObjectProperty) -> ObjectProperty:
        """Build one from a dict of its fields.

        Raises:
            ValueError: If fields are unknown, or ``name``, ``size`` or ``kind`` is missing.
        """
        if isinstance(config, ObjectProperty):
            return config
        known = [field.name for field in fields(cls)]
        if not set(known[:3]) <= config.keys() <= set(known):
            raise ValueError(
                f'a property needs {known[:3]} and may have {known[3:]}, got {dict(config)}.'
            )
        return cls(**config)

    def encode(self, values: Tensor) -> Float[Tensor, 'M {self.size}']:
        """Turn the values of M objects into the numbers to predict.

        Raises:
            ValueError: If they have another size, or labels are not among the classes.
        """
        if self.kind != 'category':
            if values.shape not in ((len(values), self.size), (len(values),) * (self.size == 1)):
                raise ValueError(
                    f'property {self.name!r} has size {self.size}, but its true values have shape '
                    f'{tuple(values.shape)}; expected (M, {self.size}).'
                )
            unit = (values.float().reshape(-1, self.size) - self.low) / (self.high - self.low)
            return 2 * unit - 1 if self.kind == 'coordinate' else unit
        if values.ndim != 1:
            raise ValueError(
                f'category {self.name!r} needs one label an object, (M,), got shape '
                f'{tuple(values.shape)}.'
            )
        labels = values.long() - self.first
        if ((labels < 0) | (labels >= self.size)).any():
            last = self.first + self.size - 1
            raise ValueError(
                f'labels of category {self.name!r} must be in {self.first}..{last} (size '
                f'{self.size}, first {self.first}), got {sorted(set(values.tolist()))}.'
            )
        return functional.one_hot(labels, self.size).float()

    def activate(self, logits: Float[Tensor, '*B P']) -> Float[Tensor, '*B P']:
        """Turn the outputs of a network into numbers."""
        if self.kind == 'category':
            return logits.softmax(dim=-1)
        unit = logits.sigmoid()
        return 2 * unit - 1 if self.kind == 'coordinate' else unit

    def decode(self, numbers: Float[Tensor, 'K P']) -> Tensor:
        """Turn numbers into values of the data: labels (K,), or real values (K, P), (K,) of one."""
        if self.kind == 'category':
            return numbers.argmax(dim=-1) + self.first
        unit = (numbers + 1) / 2 if self.kind == 'coordinate' else numbers
        values = self.low + unit * (self.high - self.low)
        return values.squeeze(1) if self.size == 1 else values
