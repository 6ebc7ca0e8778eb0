from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor


def token_mask(
    metas: Sequence[Mapping[str, Any]], grid: tuple[int, int], device: torch.device | None = None
) -> Bool[Tensor, 'B N'] | None:
    """Find the tokens whose centre lies on the image and not on mmsegmentation's padding.

    Args:
        metas: Meta information of every image: ``img_shape`` (without the padding), and
            ``padding_size`` or (test) ``img_padding_size`` as (left, right, top, bottom).
        grid: Token grid (h, w) of the padded images.
        device: Where the mask is put.

    Returns:
        True where a token exists, at least the nearest one of an image; None if nothing was padded.
    """
    paddings = [meta.get('img_padding_size', meta.get('padding_size')) for meta in metas]
    if not any(padding is not None and any(padding) for padding in paddings):
        return None
    masks = []
    for meta, padding in zip(metas, paddings, strict=True):
        left, right, top, bottom = padding or (0, 0, 0, 0)
        height, width = meta['img_shape'][:2]
        rows = _inside(grid[0], top, height, bottom)
        columns = _inside(grid[1], left, width, right)
        masks.append((rows[:, None] & columns).flatten())
    return torch.stack(masks).to(device)


def _inside(cells: int, before: int, size: int, after: int) -> Bool[Tensor, ' cells']:
    """Along one axis: cells whose centre lies on the ``size`` pixels between the paddings."""
    centre = (torch.arange(cells) + 0.5) * ((before + size + after) / cells)
    inside = (centre >= before) & (centre < before + size)
    inside[(centre - (before + size / 2)).abs().argmin()] = True
    return inside
