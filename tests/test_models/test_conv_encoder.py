import torch

from mmocl.models.backbones import ConvEncoder
from mmocl.models.layers import SoftPositionEmbedding


def test_agrees_with_boqsa(golden) -> None:
    case = golden('encoder_cnn')
    encoder = ConvEncoder(channels=8, strides=(2, 1, 1))
    assert encoder(torch.randn(2, 3, 16, 20)).grid == (8, 10)
    # The golden network has 6 channels in the first layer.
    encoder.layers[0] = torch.nn.Conv2d(3, 6, 5, stride=2, padding=2)
    encoder.layers[2] = torch.nn.Conv2d(6, 8, 5, padding=2)
    names = {f'{2 * i}.{n}': f'conv.{i}.{n}' for i in range(3) for n in ('weight', 'bias')}
    case.load(encoder.layers, names)
    case.close(encoder.layers(case['in.image']), 'out.features')


def test_position_embedding_agrees_with_three_sources(golden) -> None:
    case = golden('soft_position_embedding')
    position = SoftPositionEmbedding(8)
    case.load(position, {f'project.{n}': f'pos_embed.{n}' for n in ('weight', 'bias')})
    case.close(position(case['in.features']), 'out.boqsa.features')


def test_tokens_are_row_major() -> None:
    encoder = ConvEncoder(channels=4, strides=(1,), kernel_size=1)
    torch.nn.init.zeros_(encoder.position.project.weight)
    image = torch.zeros(1, 3, 4, 5)
    image[0, :, 1, 2] = 50
    tokens = encoder(image).tokens
    changed = (tokens[0] != tokens[0, 0]).any(1).nonzero().flatten()
    assert changed.tolist() == [1 * 5 + 2]
