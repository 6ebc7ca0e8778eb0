from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int64
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from mmocl.models.layers import at_least_float32
from mmocl.registry import MODELS
from mmocl.structures import Codes


@MODELS.register_module()
class DiscreteVAE(BaseModule):
    """The tokenizer of SLATE: every 4x4 pixels become one of V tokens, and these pixels again.

    `arXiv:2110.11405 <https://arxiv.org/abs/2110.11405>`_ and BO-QSA, `arXiv:2210.08990
    <https://arxiv.org/abs/2210.08990>`_. The reconstruction comes from a relaxed sample (Gumbel
    softmax), the tokens from a second, independent draw, and get no gradient. In evaluation mode
    there are the likeliest tokens only; ``decode_ids`` reconstructs from them, without any slots.

    Anneal the temperature by :class:`AttributeAnnealingHook` on ``'tokenizer.temperature'`` (both
    papers: cosine from 1 to 0.1 over 30,000 steps). The loss is the squared error, summed over an
    image and averaged over the batch; both papers give images in [0, 1].

    Args:
        vocab_size: Number of tokens V.
        kernel_size: Kernel of the blocks in the middle: 1 in SLATE's code, 3 in BO-QSA's, which
            changes the encoder's six blocks and the decoder's third.
        channels: Channels of the blocks.
        temperature: Temperature of the relaxed sample.
        hard: Reconstruct from one token a place, with the gradient of the relaxed sample.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: If there are fewer than two tokens, or the kernel is even.
    """

    #: Pixels of a token's side.
    stride = 4
    #: Sides of the image must be multiples of it.
    size_multiple = stride

    def __init__(
        self,
        vocab_size: int = 4096,
        kernel_size: int = 1,
        channels: int = 64,
        temperature: float = 1.0,
        hard: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if vocab_size < 2:
            raise ValueError(f'DiscreteVAE needs at least two tokens, got {vocab_size}.')
        if kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd, got {kernel_size}.')
        self.vocab_size = vocab_size
        self.temperature = temperature
        self.hard = hard
        self.encoder = nn.Sequential(
            _block(3, channels, self.stride, stride=self.stride),
            *(_block(channels, channels, kernel_size) for _ in range(6)),
            _conv(channels, vocab_size),
        )
        self.decoder: Any = nn.Sequential(
            _block(vocab_size, channels, 1),
            _block(channels, channels, 3),
            _block(channels, channels, kernel_size),
            _block(channels, channels, 1),
            _block(channels, 4 * channels, 1),
            nn.PixelShuffle(2),
            _block(channels, channels, 3),
            _block(channels, channels, 1),
            _block(channels, channels, 1),
            _block(channels, 4 * channels, 1),
            nn.PixelShuffle(2),
            _conv(channels, 3),
        )

    def encode(self, images: Float[Tensor, ...]) -> Float[Tensor, 'B V h w']:
        """Return log-probabilities of the tokens of images (B, 3, H, W), in float32 at least.

        Raises:
            ValueError: If the stride does not divide the images, or they are cached tokens.
        """
        if images.ndim != 4:
            raise ValueError(
                'tokenizer needs images, but the model was given cached tokens of shape '
                f'{tuple(images.shape)}; take token_cache out of the dataset.'
            )
        height, width = images.shape[-2:]
        if height % self.stride or width % self.stride:
            raise ValueError(
                f'Images are {height}x{width}, but tokenizer.stride {self.stride} must divide '
                'them; change the image size of the dataset (ResizeCrop.size, image_size).'
            )
        return at_least_float32(self.encoder(images)).log_softmax(dim=1)

    def decode(self, tokens: Float[Tensor, 'B V h w']) -> Float[Tensor, 'B 3 H W']:
        """Decode one-hot tokens, or weights over tokens."""
        return self.decoder(tokens)

    def decode_ids(self, ids: Int64[Tensor, 'B h w']) -> Float[Tensor, 'B 3 H W']:
        """Decode token ids: as :meth:`decode` of one-hot tokens, but without making them."""
        # A 1x1 convolution of a one-hot vector is one row of its weight.
        (conv, *rest), *others = self.decoder.children()
        maps = functional.embedding(ids, conv.weight[:, :, 0, 0].T).permute(0, 3, 1, 2)
        return nn.Sequential(*rest, *others)(maps)

    def forward(self, images: Float[Tensor, ...], noise: Float[Tensor, ...] | None = None) -> Codes:
        """Tokenise images (B, 3, H, W); in training or with noise also reconstruct them.

        Args:
            images: The images.
            noise: Gumbel draws (2, B, V, h, w) for the relaxed sample and for the tokens, used in
                evaluation mode too; drawn in training if not given.

        Raises:
            ValueError: See :meth:`encode`; or if ``noise`` has another shape.
        """
        log_probs = self.encode(images)
        if noise is None and not self.training:
            return _codes(log_probs.argmax(dim=1))
        if noise is not None and noise.shape != (2, *log_probs.shape):
            raise ValueError(
                f'noise must have the shape {(2, *log_probs.shape)}, got {tuple(noise.shape)}.'
            )
        # The temperature does not change which token is the likeliest. One draw after the other, as
        # they are as large as all logits.
        draw = _gumbel(log_probs) if noise is None else noise[1]
        ids = (log_probs.detach() + draw).argmax(dim=1)
        draw = _gumbel(log_probs) if noise is None else noise[0]
        recon = self.decode(self.relax(log_probs, draw))
        error = (recon - images).square().sum() / len(images)
        return _codes(ids, recon, {'tokenizer': error})

    def relax(
        self, log_probs: Float[Tensor, 'B V h w'], noise: Float[Tensor, 'B V h w']
    ) -> Float[Tensor, 'B V h w']:
        """Return the relaxed sample of Gumbel draws at the temperature."""
        soft = ((log_probs + noise) / self.temperature).softmax(dim=1)
        if not self.hard:
            return soft
        sample = torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
        return sample + (soft - soft.detach())


def _codes(
    ids: Int64[Tensor, 'B h w'],
    recon: Float[Tensor, 'B 3 H W'] | None = None,
    losses: dict[str, Tensor] | None = None,
) -> Codes:
    return Codes(ids.flatten(1), (ids.shape[1], ids.shape[2]), recon, losses or {})


def _gumbel(like: Float[Tensor, 'B V h w']) -> Float[Tensor, 'B V h w']:
    draws = torch.empty_like(like).exponential_()
    return -(draws + torch.finfo(like.dtype).tiny).log()


def _block(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """A convolution, a norm over the whole map, ReLU."""
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride,
        # The first one tiles the image.
        padding=0 if stride > 1 else kernel_size // 2,
        bias=False,
    )
    nn.init.kaiming_uniform_(conv.weight, nonlinearity='relu')
    return nn.Sequential(conv, nn.GroupNorm(1, out_channels), nn.ReLU(inplace=True))


def _conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, 1)
    nn.init.xavier_uniform_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
