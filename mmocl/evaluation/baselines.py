"""Masks that need no object-centric model; a score means little until it beats them."""

import torch
from jaxtyping import Float
from torch import Tensor


def block_masks(num_slots: int, grid: tuple[int, int]) -> Float[Tensor, 'K h w']:
    """Cut the grid into rectangular blocks, one a slot.

    There are ``round(sqrt(num_slots))`` rows of (nearly) equal height; every row is cut into
    columns of (nearly) equal width, and the first ``num_slots % rows`` rows have one column more.
    Four slots give 2 x 2 blocks, seven give rows of 3, 2 and 2.

    Args:
        num_slots: Number of blocks K.
        grid: Height and width (h, w) of the masks.

    Returns:
        One-hot masks (K, h, w), blocks in row-major order.

    Raises:
        ValueError: If some block would be empty.
    """
    if num_slots < 1:
        raise ValueError(f'num_slots must be positive, got {num_slots}')
    height, width = grid
    num_rows = round(num_slots**0.5)
    base, extra = divmod(num_slots, num_rows)
    if num_rows > height or base + bool(extra) > width:
        raise ValueError(f'a grid of {height}x{width} is too small for {num_slots} blocks')
    masks = torch.zeros(num_slots, height, width)
    slot = 0
    for row in range(num_rows):
        top, bottom = row * height // num_rows, (row + 1) * height // num_rows
        num_cols = base + (row < extra)
        for col in range(num_cols):
            left, right = col * width // num_cols, (col + 1) * width // num_cols
            masks[slot, top:bottom, left:right] = 1
            slot += 1
    return masks


def kmeans_masks(
    tokens: Float[Tensor, 'N C'], grid: tuple[int, int], num_slots: int, seed: int = 0
) -> Float[Tensor, 'K h w']:
    """Cluster the backbone's tokens of one image, one cluster a slot.

    Args:
        tokens: Tokens (N, C), row-major over ``grid``.
        grid: Height and width (h, w) of the masks.
        num_slots: Number of clusters K.
        seed: Seed of the k-means++ starts (three, the best is kept).

    Returns:
        One-hot masks (K, h, w) on the CPU.

    Raises:
        ImportError: If scikit-learn is missing.
        ValueError: If ``grid`` does not hold N tokens.
    """
    try:
        from sklearn.cluster import KMeans
    except ImportError as error:
        raise ImportError('kmeans_masks needs scikit-learn: pip install scikit-learn') from error
    height, width = grid
    if len(tokens) != height * width:
        raise ValueError(f'{len(tokens)} tokens do not fill a grid of {height}x{width}')
    points = tokens.detach().cpu().float().numpy()
    labels = KMeans(num_slots, n_init=3, random_state=seed).fit_predict(points)
    index = torch.as_tensor(labels, dtype=torch.int64).reshape(height, width)
    return torch.nn.functional.one_hot(index, num_slots).permute(2, 0, 1).float()
