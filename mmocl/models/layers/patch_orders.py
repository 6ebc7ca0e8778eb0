import torch
from jaxtyping import Int64
from torch import Tensor

#: Names of the orders in which an autoregressive decoder can go through a grid: rows or columns
#: first from each of the four corners, and a spiral from the centre. SPOT's code has this sequence.
PATCH_ORDERS = (
    'rows',
    'columns',
    'columns_right',
    'rows_right',
    'columns_bottom_right',
    'rows_bottom_right',
    'columns_bottom',
    'rows_bottom',
    'spiral',
)


def patch_order(name: str, grid: tuple[int, int]) -> Int64[Tensor, ' P']:
    """Return row-major indices of the patches of a grid in the order of their decoding.

    SPOT, `arXiv:2312.00648 <https://arxiv.org/abs/2312.00648>`_, has these nine.

    Args:
        name: One of :data:`PATCH_ORDERS`. ``'rows'`` is the reading order; ``'bottom'`` and
            ``'right'`` say that it starts at that side.
        grid: Patches (h, w).

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in PATCH_ORDERS:
        raise ValueError(f'A patch order must be one of {PATCH_ORDERS}, got {name!r}.')
    index = torch.arange(grid[0] * grid[1]).view(grid)
    if name == 'spiral':
        return _spiral(index)
    first, *corner = name.split('_')
    index = index.flip([{'bottom': 0, 'right': 1}[side] for side in corner])
    return (index.T if first == 'columns' else index).flatten()


def _spiral(index: Int64[Tensor, 'h w']) -> Int64[Tensor, ' P']:
    """Go inwards from the right column, peeling it off and turning the rest; then backwards."""
    columns = []
    while index.numel():
        columns.append(index[:, -1])
        index = index[:, :-1].rot90()
    return torch.cat(columns).flip(0)
