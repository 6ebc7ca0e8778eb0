"""Which sizes of images a model can look at, whatever size it was trained with."""

import math
from typing import Any

# Parts whose attribute ``size_multiple`` is asked for, where a model has them.
_PARTS = ('backbone', 'tokenizer', 'target', 'decoder')


def size_multiple(model: Any) -> int:
    """Find what sides of images must be multiples of, so that every part of a model can take them.

    Parts say so by an attribute ``size_multiple``: None stands for a part that takes one size only;
    one without this attribute is believed to take any.

    Args:
        model: ``SlotAutoencoder`` or ``SlotSetPredictor``.

    Raises:
        ValueError: If a part takes one size only; its config key is named.
    """
    multiples = []
    for name in _PARTS:
        part = getattr(model, name, None)
        multiple = getattr(part, 'size_multiple', 1)
        if multiple is None:
            raise ValueError(
                f'model.{name}, a {type(part).__name__}, takes images of one size only, that of '
                'its config'
            )
        multiples.append(multiple)
    return math.lcm(*multiples)
