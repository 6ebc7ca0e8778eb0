"""Slots of many images as one .npz file, of which no more than one image is held."""

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np


class SlotRows:
    """An .npz file with one row an image, written row by row.

    Rows are kept in files beside it until :meth:`finish`, which alone writes the file; nothing is
    left of them if the block is ended by an exception.

    Args:
        path: File to write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: list[str] = []
        self._like: dict[str, np.ndarray] = {}
        self._rows: dict[str, IO[bytes]] = {}

    def __enter__(self) -> 'SlotRows':
        return self

    def add(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        """Add the arrays of an image; they have the same names, shapes and types every time."""
        if not self.names:
            self._like = arrays
            for key in arrays:
                self._rows[key] = tempfile.TemporaryFile(dir=self.path.parent)  # noqa: SIM115
        self.names.append(name)
        for key, array in arrays.items():
            like = self._like[key]
            assert (array.shape, array.dtype) == (like.shape, like.dtype)
            self._rows[key].write(np.ascontiguousarray(array).tobytes())

    def finish(self) -> None:
        """Write the file, with the names of the images as ``names``."""
        part = self.path.with_name(f'{self.path.name}.part')
        try:
            with zipfile.ZipFile(part, 'w', zipfile.ZIP_DEFLATED) as archive:
                with archive.open('names.npy', 'w', force_zip64=True) as file:
                    np.lib.format.write_array(file, np.array(self.names), allow_pickle=False)
                for key, rows in self._rows.items():
                    header: dict[str, Any] = {
                        'descr': np.lib.format.dtype_to_descr(self._like[key].dtype),
                        'fortran_order': False,
                        'shape': (len(self.names), *self._like[key].shape),
                    }
                    rows.seek(0)
                    with archive.open(f'{key}.npy', 'w', force_zip64=True) as file:
                        np.lib.format.write_array_header_1_0(file, header)
                        shutil.copyfileobj(rows, file)
            part.replace(self.path)
        finally:
            part.unlink(missing_ok=True)

    def __exit__(self, *error: object) -> None:
        for rows in self._rows.values():
            rows.close()
