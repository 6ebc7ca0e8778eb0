from mmocl.structures import Target


def require_grid(name: str, grid: tuple[int, int], target: Target | None) -> None:
    """Refuse a target that lies on another grid than a decoder of tokens decodes.

    Args:
        name: The decoder in the message.
        grid: Its grid (h, w).
        target: The target (None: nothing to compare with).

    Raises:
        ValueError: If the grids differ, or, where that of the target is not known, the numbers of
            tokens.
    """
    if target is None:
        return
    there = target.values.shape[1]
    if target.grid not in (None, grid) or there != grid[0] * grid[1]:
        found = f'a grid of {target.grid}' if target.grid else 'a grid that is not known'
        raise ValueError(
            f'{name} decodes a grid of {grid}, {grid[0] * grid[1]} tokens, but the target has '
            f'{found}, {there} tokens; set model.decoder.grid to the image size of the dataset '
            'divided by the stride of model.backbone (features), model.tokenizer (tokens) or '
            'model.target.patch_size (patches).'
        )
