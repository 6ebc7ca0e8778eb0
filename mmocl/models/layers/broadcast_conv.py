import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


def broadcast_conv(
    layer: nn.ConvTranspose2d, vectors: Float[Tensor, 'A C'], position: Float[Tensor, 'C h w']
) -> Float[Tensor, 'A E H W']:
    """Apply a transposed convolution to ``vector + position`` on a canvas, for many vectors.

    The layer is linear, so the positions pass it once for all vectors, and every vector alone as a
    canvas of one value. What such a canvas becomes repeats itself away from the borders: it is
    computed on the smallest canvas that has both borders and one pixel between them, which is then
    stretched. On canvases of less than 16 times its size stretching takes longer than it saves
    (8x8, on a CPU): they pass the layer as they are, and so do all where the layer has groups or
    dilation.

    Args:
        layer: A layer that multiplies height and width by its stride.
        vectors: One vector a canvas.
        position: What is added to it, pixel by pixel.
    """
    sizes = position.shape[-2:]
    borders = [_borders(layer, dim) for dim in (0, 1)]
    small = [min(size, sum(border) + 1) for size, border in zip(sizes, borders, strict=True)]
    plain = layer.groups == 1 and layer.dilation == (1, 1)
    if not plain or 16 * math.prod(small) > math.prod(sizes):
        return layer(vectors[:, :, None, None] + position)
    assert isinstance(layer.padding, tuple)
    maps = functional.conv_transpose2d(
        vectors[:, :, None, None].expand(-1, -1, *small),
        layer.weight,
        None,
        layer.stride,
        layer.padding,
        layer.output_padding,
    )
    for dim in (0, 1):
        if small[dim] < sizes[dim]:
            maps = _stretch(maps, 2 + dim, sizes[dim], *borders[dim])
    # The first one gives the order of memory, which may be channels-last.
    return layer(position[None]) + maps


def _borders(layer: nn.ConvTranspose2d, dim: int) -> tuple[int, int]:
    """Count the pixels of the canvas, at its start and end, around which outputs miss some taps.

    Output y gets the tap i of pixel ``(y + padding - i) / stride``, if there is one.
    """
    kernel, stride = layer.kernel_size[dim], layer.stride[dim]
    padding, extra = int(layer.padding[dim]), layer.output_padding[dim]
    start, end = kernel - 1 - padding, kernel - 1 - padding + extra
    return math.ceil(start / stride), math.ceil(end / stride)


def _stretch(
    maps: Float[Tensor, 'A E h w'], dim: int, size: int, start: int, end: int
) -> Float[Tensor, 'A E H W']:
    """Repeat the outputs of the one pixel between the borders, until there are ``size`` pixels."""
    pixels = maps.unflatten(dim, (start + 1 + end, -1))
    shape = [-1] * pixels.ndim
    shape[dim] = size - start - end
    first, middle, last = pixels.split([start, 1, end], dim)
    # A sum in the backward pass, other than an index, which has it by atomic additions on a GPU.
    return torch.cat([first, middle.expand(shape), last], dim).flatten(dim, dim + 1)
