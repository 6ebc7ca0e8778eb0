from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8


class OverlayVideo:
    """An .mp4 file (MPEG-4) that is written frame by frame; close it by :meth:`close`.

    Sides of odd length lose their last row or column, which the format cannot hold.

    Args:
        path: File to write.
        rate: Frames a second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path = path
        self.rate = rate
        self._writer: cv2.VideoWriter | None = None

    def add(self, image: UInt8[np.ndarray, 'H W 3']) -> None:
        """Write a frame; all have the size of the first one.

        Raises:
            ValueError: If OpenCV cannot write such a file.
        """
        height, width = (max(side // 2 * 2, 2) for side in image.shape[:2])
        if image.shape[0] < 2 or image.shape[1] < 2:
            image = np.broadcast_to(image[:1, :1], (2, 2, 3))
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            code = cv2.VideoWriter.fourcc(*'mp4v')
            self._writer = cv2.VideoWriter(str(self.path), code, self.rate, (width, height))
            if not self._writer.isOpened():
                raise ValueError(f'OpenCV cannot write {self.path}, a video of {width}x{height}')
        self._writer.write(np.ascontiguousarray(image[:height, :width, ::-1]))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()
