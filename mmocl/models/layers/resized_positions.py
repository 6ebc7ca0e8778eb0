from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mmocl.models.layers.precision import at_least_float32


def resized_positions(
    positions: Float[Tensor, '1 N D'], grid: tuple[int, int], size: tuple[int, int]
) -> Float[Tensor, '1 M D']:
    """Bring learned positions of a grid to another grid, as is done with those of ViTs.

    Bicubic, and averaged where the new grid is coarser. Positions of the own grid are returned as
    they are.

    Args:
        positions: One vector a place, row-major over ``grid``.
        grid: Their grid (h, w).
        size: The grid that they are wanted for.
    """
    if tuple(size) == tuple(grid):
        return positions
    maps = at_least_float32(positions).mT.unflatten(2, grid)
    maps = functional.interpolate(maps, size, mode='bicubic', align_corners=False, antialias=True)
    return maps.flatten(2).mT.to(positions.dtype)
