import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmocl.models.layers import at_least_float32, require
from mmocl.registry import MODELS
from mmocl.structures import ModelOutput


@MODELS.register_module()
class DiscretizedGaussianLoss(nn.Module):
    """Negative log-likelihood of 8-bit images under Gaussians, in nats a pixel and channel.

    The likelihood of Probabilistic Slot Attention, `arXiv:2406.07141
    <https://arxiv.org/abs/2406.07141>`_, as its released code has it (``shared_dgauss``). An image
    in [-1, 1] has 256 values a channel; a value's probability is that of a Gaussian between its
    borders, 1/255 to either side, and the first and the last value reach to infinity. One
    log-scale a channel is learned, for all pixels and images. With ``autoregressive`` a pixel's
    green is expected by its true red too, and its blue by its true red and green, linearly::

        red:   r
        green: g + c0 (x_red - r)
        blue:  b + c1 (x_red - r) + c2 (x_green - g)

    where r, g, b are the reconstruction and c is the tanh of a learned linear map of it. Scale and
    coefficients belong to the loss: trained, and in a checkpoint, but run by nothing else.

    Deviations from the released code: it expects green by ``c0 x_red`` and so on, and paints the
    image by that chain; the errors of red and green, as here, give a pixel the same likelihoods
    in other coordinates, in which the reconstruction is the image, as it is with every loss. Its
    further linear map of the reconstruction is left out, as the decoder ends with one. Normal
    probabilities are exact; there they are a tanh approximation, and clamped at 1e-12.

    Args:
        weight: Weight of the loss in the sum.
        init_log_scale: Where the log-scales start, in units of [-1, 1]. Their script asks for
            log 0.1, but their code then sets it to 0.
        autoregressive: Whether green and blue depend on the channels before them.

    Raises:
        ValueError: If ``weight`` is negative or ``init_log_scale`` not above the floor of -9.
    """

    name = 'discretized_gaussian'
    target_shapes = ('image',)
    MIN_LOG_SCALE = -9.0

    def __init__(
        self, weight: float = 1.0, init_log_scale: float = 0.0, autoregressive: bool = True
    ) -> None:
        super().__init__()
        if not weight >= 0:
            raise ValueError(
                f'weight of DiscretizedGaussianLoss must not be negative, got {weight}.'
            )
        if not init_log_scale > self.MIN_LOG_SCALE:
            raise ValueError(
                'init_log_scale of DiscretizedGaussianLoss must be above '
                f'{self.MIN_LOG_SCALE:g}, where it would get no gradient, got {init_log_scale}.'
            )
        self.weight = weight
        self.log_scale = nn.Parameter(torch.full((3,), float(init_log_scale)))
        self.to_coefficients: Any = None
        if autoregressive:
            self.to_coefficients = nn.Conv2d(3, 3, 1)
            # Theirs start without a bias as well; a convolution's weights start the default way.
            self.to_coefficients.bias.data.zero_()

    def forward(self, output: ModelOutput) -> Float[Tensor, '']:
        """Return the weighted loss, in float32 at least.

        Raises:
            ValueError: If the target is not an RGB image, or not in [-1, 1]. On a GPU and in
                compiled graphs the latter is a RuntimeError that comes later, see
                :func:`~mmocl.models.layers.require`.
        """
        values = output.target.values
        if values.ndim != 4 or values.shape[1] != 3:
            raise ValueError(
                'DiscretizedGaussianLoss needs images (B, 3, H, W) as target, got shape '
                f'{tuple(values.shape)}; take PixelTarget without patch_size.'
            )
        require(
            (values.abs() <= 1 + 1e-4).all(),
            'DiscretizedGaussianLoss needs a target in [-1, 1]; leave mean and std of the '
            'data_preprocessor at 127.5.',
            lambda: f'(Got {values.min():.3g} to {values.max():.3g}.)',
        )
        with torch.autocast(values.device.type, enabled=False):
            values = at_least_float32(values)
            mean = self.expect(at_least_float32(output.decoded.recon), values)
            log_scale = self.log_scale.clamp_min(self.MIN_LOG_SCALE)[:, None, None]
            return self.weight * -log_probability(values, mean, log_scale).mean()

    def expect(
        self, recon: Float[Tensor, 'B 3 H W'], values: Float[Tensor, 'B 3 H W']
    ) -> Float[Tensor, 'B 3 H W']:
        """Return the means of all channels, each given the true values of those before it."""
        if self.to_coefficients is None:
            return recon
        first, second, third = self.to_coefficients(recon).tanh().unbind(1)
        red, green, _ = (values - recon).unbind(1)
        shift = torch.stack([torch.zeros_like(red), first * red, second * red + third * green], 1)
        return recon + shift


def log_probability(
    values: Float[Tensor, '*shape'],
    mean: Float[Tensor, '*shape'],
    log_scale: Float[Tensor, '...'],
) -> Float[Tensor, '*shape']:
    """Return the log-probabilities of 8-bit values in [-1, 1] under rounded Gaussians."""
    inverse = (-log_scale).exp()
    low = (values - mean - 1 / 255) * inverse
    high = (values - mean + 1 / 255) * inverse
    # In the left tail, where the logs of distribution functions have all their digits.
    below = values < mean
    left = log_cdf(torch.where(below, low, -high))
    right = log_cdf(torch.where(below, high, -low))
    # Behind a scale of some 1e4 the two are one number, and the log would be infinite.
    gap = (left - right).clamp_max(-torch.finfo(left.dtype).eps)
    inner = right + (-torch.expm1(gap)).log()
    first, last = values < -1 + 1 / 255, values > 1 - 1 / 255
    edge = log_cdf(torch.where(first, high, -low))
    return torch.where(first | last, edge, inner)


def log_cdf(x: Float[Tensor, '*shape']) -> Float[Tensor, '*shape']:
    """Return the log of the standard normal distribution function, with a precise gradient.

    PyTorch's own gradient is a difference of squares: in float32 it is off by 5e-4 at -200 and by a
    factor of 6 at -10,000, where a bad pixel of a narrow Gaussian lies. There is no second one.
    """
    point = x.detach()
    slope = math.sqrt(2 / math.pi) / torch.special.erfcx(-point / math.sqrt(2))
    return torch.special.log_ndtr(point) + slope * (x - point)
