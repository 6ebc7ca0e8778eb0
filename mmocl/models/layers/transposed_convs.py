from collections.abc import Sequence

from torch import nn


def transposed_convs(
    in_channels: int, channels: int, strides: Sequence[int], out_channels: int
) -> nn.Sequential:
    """Build 5x5 transposed convolutions with ReLU that grow a map, and a last 3x3 one that paints.

    Slot Attention, `arXiv:2006.15055 <https://arxiv.org/abs/2006.15055>`_, table 4.

    Args:
        in_channels: Channels of the map.
        channels: Channels of the hidden layers.
        strides: Stride of every 5x5 layer, by which it multiplies height and width.
        out_channels: Channels of the last layer.
    """
    layers: list[nn.Module] = []
    for stride in strides:
        layers += [
            nn.ConvTranspose2d(
                in_channels, channels, 5, stride=stride, padding=2, output_padding=stride - 1
            ),
            nn.ReLU(inplace=True),
        ]
        in_channels = channels
    return nn.Sequential(*layers, nn.ConvTranspose2d(channels, out_channels, 3, padding=1))
