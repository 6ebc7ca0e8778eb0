from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt8


@dataclass(frozen=True)
class LabelFormat:
    """What the values of a label map, an image with one id a pixel, mean in a data set.

    Args:
        background: Ids that are no object.
        void: Ids of pixels without annotation.
        divisor: An id is the stored byte divided by this, rounded down.
        first_channel: Whether the file may be a colour image, whose first channel counts.
    """

    background: tuple[int, ...] = (0,)
    void: tuple[int, ...] = ()
    divisor: int = 1
    first_channel: bool = False

    def objects(
        self, values: UInt8[np.ndarray, 'H W']
    ) -> tuple[Bool[np.ndarray, 'M H W'], Int64[np.ndarray, ' M'], Bool[np.ndarray, 'H W'] | None]:
        """Part a label map into its objects.

        Args:
            values: The stored bytes.

        Returns:
            Masks, the ids as labels, and the void pixels (None if the format knows none).
        """
        ids = values // self.divisor
        labels = np.setdiff1d(ids, (*self.background, *self.void))
        void = np.isin(ids, self.void) if self.void else None
        return ids == labels[:, None, None], labels.astype(np.int64), void
