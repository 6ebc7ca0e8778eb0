"""Files that would create a folder if they, or the config in them, were run as Python."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class Call:
    """Pickled as a call that creates a folder."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.proof),)


def zipped(path: Path, proof: Path, **content: Any) -> Path:
    """As ``torch.save`` writes today."""
    torch.save({'state_dict': {}, 'optimizer': Call(proof), **content}, path)
    return path


def legacy(path: Path, proof: Path) -> Path:
    """As ``torch.save`` once wrote."""
    content = {'state_dict': {}, 'optimizer': Call(proof)}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def plain(path: Path, proof: Path) -> Path:
    """As ``pickle`` writes, without torch."""
    path.write_bytes(pickle.dumps({'state_dict': {}, 'optimizer': Call(proof)}, protocol=2))
    return path


def newest(path: Path, proof: Path) -> Path:
    """As ``pickle`` writes, without torch, in its newest form."""
    path.write_bytes(pickle.dumps({'state_dict': {}, 'optimizer': Call(proof)}))
    return path


def with_evil_config(path: Path, proof: Path) -> Path:
    """As ``torch.save`` writes today: weights, and a config that names a function of Python."""
    backbone = f"dict(type='os.mkdir', path={str(proof)!r})"
    parts = 'slot_head={}, decoder={}, target={}, losses=[]'
    text = f"model = dict(type='SlotAutoencoder', backbone={backbone}, {parts})\n"
    torch.save({'state_dict': {'w': torch.zeros(1)}, 'meta': {'cfg': text}}, path)
    return path


EVIL: tuple[Callable[[Path, Path], Path], ...] = (zipped, legacy, plain, newest)
