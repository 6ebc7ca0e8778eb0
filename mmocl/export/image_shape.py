from mmengine.config import Config


def image_shape(config: Config) -> tuple[int, int]:
    """Height and width of the images that a config tests with.

    Raises:
        ValueError: If it does not say so.
    """
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    found = dataset.get('image_size')
    for step in dataset.get('pipeline') or []:
        if step['type'].rpartition('.')[2] == 'ResizeCrop' and step.get('crop') != 'none':
            found = step.get('size', found)
    if isinstance(found, int):
        return found, found
    if isinstance(found, list | tuple) and len(found) == 2:
        return int(found[0]), int(found[1])
    raise ValueError(
        'The config does not say what size its images have (a ResizeCrop in '
        'test_dataloader.dataset.pipeline, or image_size of generated data); give --shape H W.'
    )
