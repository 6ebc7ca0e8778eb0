from mmocl.structures import Target


def require_grid(
    name: str, grid: tuple[int, int], target: Target | None, any_grid: bool = False
) -> tuple[int, int]:
    """Find the grid to decode; refuse a target on another one than a decoder of tokens learns for.

    Args:
        name: The decoder in the message.
        grid: Its grid (h, w).
        target: The target (None: nothing to compare with).
        any_grid: Take the grid of the target, if it is known, as decoders that bring their
            positions to it can in evaluation mode.

    Returns:
        The grid (h, w).

    Raises:
        ValueError: If the grids differ, or, where that of the target is not known, the numbers of
            tokens.
    """
    if target is None:
        return grid
    there = target.values.shape[1]
    if any_grid and target.grid is not None:
        grid = target.grid
    if target.grid not in (None, grid) or there != grid[0] * grid[1]:
        found = f'a grid of {target.grid}' if target.grid else 'a grid that is not known'
        raise ValueError(
            f'{name} decodes a grid of {grid}, {grid[0] * grid[1]} tokens, but the target has '
            f'{found}, {there} tokens; set model.decoder.grid to the image size of the dataset '
            'divided by the stride of model.backbone (features), model.tokenizer (tokens) or '
            'model.target.patch_size (patches).'
        )
    return grid
