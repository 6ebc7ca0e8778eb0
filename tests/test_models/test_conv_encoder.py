import torch

from mmocl.models.backbones import ConvEncoder


def test_strides_shrink_the_grid() -> None:
    encoder = ConvEncoder(channels=8, strides=(2, 1, 1))
    assert encoder(torch.randn(2, 3, 16, 20)).grid == (8, 10)


def test_tokens_are_row_major() -> None:
    encoder = ConvEncoder(channels=4, strides=(1,), kernel_size=1)
    torch.nn.init.zeros_(encoder.position.project.weight)
    image = torch.zeros(1, 3, 4, 5)
    image[0, :, 1, 2] = 50
    tokens = encoder(image).tokens
    changed = (tokens[0] != tokens[0, 0]).any(1).nonzero().flatten()
    assert changed.tolist() == [1 * 5 + 2]
