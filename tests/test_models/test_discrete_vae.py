import pytest
import torch
from torch.nn import functional

from mmocl.models.tokenizers import DiscreteVAE

IMAGES = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))


def _noise(vae: DiscreteVAE) -> torch.Tensor:
    return torch.randn(2, 2, vae.vocab_size, 2, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('kernel_size', [1, 3])
def test_every_four_by_four_pixels_are_a_token(kernel_size) -> None:
    vae = DiscreteVAE(5, kernel_size, channels=8)
    codes = vae(IMAGES)
    assert codes.grid == (2, 3)
    assert codes.ids.shape == (2, 6)
    assert 0 <= codes.ids.min() <= codes.ids.max() < 5
    assert codes.recon.shape == IMAGES.shape
    error = (codes.recon - IMAGES).square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(codes.losses['tokenizer'], error)
    codes.losses['tokenizer'].backward()
    for name, parameter in vae.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_log_probs_sum_to_one_and_tokens_have_no_gradient() -> None:
    vae = DiscreteVAE(5, channels=8)
    torch.testing.assert_close(vae.encode(IMAGES).exp().sum(1), torch.ones(2, 2, 3))
    assert not vae(IMAGES).ids.requires_grad


def test_evaluation_takes_the_likeliest_tokens() -> None:
    vae = DiscreteVAE(5, channels=8).eval()
    codes = vae(IMAGES)
    assert torch.equal(codes.ids, vae.encode(IMAGES).argmax(1).flatten(1))
    assert codes.recon is None
    assert codes.losses == {}


def test_decoding_ids_is_decoding_one_hot_tokens() -> None:
    vae = DiscreteVAE(5, channels=8)
    ids = torch.randint(5, (2, 2, 3))
    one_hot = functional.one_hot(ids, 5).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(vae.decode_ids(ids), vae.decode(one_hot))


def test_training_draws_tokens_apart_from_the_relaxed_sample() -> None:
    vae = DiscreteVAE(5, channels=8)
    assert not torch.equal(vae(IMAGES).recon, vae(IMAGES).recon)
    noise = _noise(vae)
    other = noise.clone()
    other[1] += torch.randn_like(other[1]) * 9
    first, second = vae(IMAGES, noise), vae(IMAGES, other)
    assert torch.equal(first.recon, second.recon)
    assert not torch.equal(first.ids, second.ids)


def test_a_low_temperature_is_nearly_hard_and_hard_is() -> None:
    vae = DiscreteVAE(5, channels=8, temperature=1e-3)
    log_probs, noise = vae.encode(IMAGES), _noise(vae)[0]
    one_hot = functional.one_hot((log_probs + noise).argmax(1), 5).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(vae.relax(log_probs, noise), one_hot)
    vae.temperature, vae.hard = 1.0, True
    hard = vae.relax(log_probs, noise)
    torch.testing.assert_close(hard, one_hot)
    weights = torch.randn_like(hard)
    vae.hard = False
    soft = vae.relax(log_probs, noise)
    grads = [torch.autograd.grad((x * weights).sum(), log_probs)[0] for x in (hard, soft)]
    torch.testing.assert_close(*grads)


def test_bad_input_is_named() -> None:
    vae = DiscreteVAE(5, channels=8)
    with pytest.raises(ValueError, match=r'8x10, but tokenizer.stride 4 must divide them'):
        vae(IMAGES[..., :10])
    with pytest.raises(ValueError, match=r'needs images.*cached tokens of shape \(2, 16, 3\)'):
        vae(torch.zeros(2, 16, 3))
    with pytest.raises(ValueError, match=r'noise must have the shape \(2, 2, 5, 2, 3\)'):
        vae(IMAGES, torch.zeros(2, 5, 2, 3))
    with pytest.raises(ValueError, match='at least two tokens, got 1'):
        DiscreteVAE(1)
    with pytest.raises(ValueError, match='kernel_size must be odd, got 2'):
        DiscreteVAE(5, 2)
