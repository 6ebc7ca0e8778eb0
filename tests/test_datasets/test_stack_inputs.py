import pytest
import torch
from mmengine.runner import Runner

from mmocl.datasets import stack_inputs
from mmocl.models import SlotDataPreprocessor

IMAGES = torch.randint(256, (4, 3, 6, 5), dtype=torch.uint8)


def items(inputs: list[torch.Tensor]) -> list[dict]:
    return [{'inputs': x, 'data_samples': i} for i, x in enumerate(inputs)]


def test_equal_shapes_become_one_tensor() -> None:
    batch = stack_inputs(items(list(IMAGES)))
    assert torch.equal(batch['inputs'], IMAGES)
    assert batch['data_samples'] == [0, 1, 2, 3]
    ragged = [IMAGES[0], IMAGES[1, :, :4]]
    assert stack_inputs(items(ragged))['inputs'] == ragged


@pytest.mark.parametrize('num_workers', [0, 1])
def test_workers_stack(num_workers: int) -> None:
    loader = Runner.build_dataloader(
        {
            'batch_size': 4,
            'num_workers': num_workers,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            'collate_fn': {'type': 'mmocl.stack_inputs'},
            'dataset': {'type': 'mmocl.ColoredSprites', 'num_images': 4, 'image_size': 32},
        }
    )
    (batch,) = loader
    wanted = torch.stack([loader.dataset[i]['inputs'] for i in range(4)])
    assert torch.equal(batch['inputs'], wanted)
    assert batch['inputs'].is_shared() == bool(num_workers)
    assert [sample.img_id for sample in batch['data_samples']] == [0, 1, 2, 3]


def test_stacked_and_listed_images_are_normalised_alike() -> None:
    preprocess = SlotDataPreprocessor(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    stacked = preprocess({'inputs': IMAGES, 'data_samples': None})
    assert stacked['data_samples'] is None
    listed = preprocess({'inputs': list(IMAGES)})['inputs']
    assert torch.equal(stacked['inputs'], listed)
    wanted = (IMAGES.float() - preprocess.mean) / preprocess.std
    assert torch.equal(stacked['inputs'], wanted)
    # Float images are not changed in place.
    images = IMAGES.float()
    assert torch.equal(preprocess({'inputs': images})['inputs'], wanted)
    assert torch.equal(images, IMAGES.float())
    padded = preprocess({'inputs': [IMAGES[0], IMAGES[1, :, :4]]})['inputs']
    assert torch.equal(padded[0], wanted[0])
    assert torch.equal(padded[1, :, :4], wanted[1, :, :4])
    assert not padded[1, :, 4:].any()
    with pytest.raises(ValueError, match=r'Expected images \(B, 3, H, W\), got \(4, 1, 6, 5\)'):
        preprocess({'inputs': IMAGES[:, :1]})


def test_tokens_are_widened_where_the_model_is() -> None:
    tokens = torch.randn(2, 4, 3).bfloat16()
    for inputs in (tokens, list(tokens)):
        found = SlotDataPreprocessor()({'inputs': inputs})['inputs']
        assert found.dtype == torch.float32
        assert torch.equal(found, tokens.float())
