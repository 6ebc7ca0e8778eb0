import warnings

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmocl.apis import SlotInferencer
from mmocl.registry import MODELS

CONFIG = Config(
    {
        'model': {
            'type': 'SlotAutoencoder',
            'backbone': {'type': 'ConvEncoder', 'channels': 8, 'strides': (2,)},
            'slot_head': {
                'type': 'SlotAttention',
                'slot_dim': 12,
                'initializer': {'type': 'LearnedSlots', 'num_slots': 3},
            },
            'decoder': {'type': 'MLPDecoder', 'grid': (16, 16), 'hidden_channels': 16},
            'target': {'type': 'PixelTarget', 'patch_size': 2},
            'losses': [{'type': 'ReconstructionLoss'}],
        },
        'test_dataloader': {'dataset': {'type': 'ColoredSprites', 'image_size': 32}},
    }
)


def test_inferencer_gives_slots_masks_and_pictures(tmp_path) -> None:
    torch.save({'state_dict': MODELS.build(CONFIG.model).state_dict()}, tmp_path / 'model.pth')
    for name, size in (('a', (50, 40)), ('b', (20, 90))):
        Image.new('RGB', size, 'red').save(tmp_path / f'{name}.jpg')
    config = Config({**CONFIG, 'visualizer': {'type': 'SlotVisualizer'}})
    config.visualizer.vis_backends = [{'type': 'LocalVisBackend'}]
    with warnings.catch_warnings():
        # MMEngine's visualizer warns that it has no folder.
        warnings.simplefilter('error')
        inferencer = SlotInferencer(
            config, str(tmp_path / 'model.pth'), device='cpu', show_progress=False
        )
    images = [str(tmp_path / 'a.jpg'), str(tmp_path / 'b.jpg')]
    result = inferencer(images, out_dir=str(tmp_path / 'out'), fit='config')
    assert [p['slots'].shape for p in result['predictions']] == [(3, 12), (3, 12)]
    assert result['predictions'][0]['masks'].shape == (3, 16, 16)
    assert result['predictions'][0]['label_map'].shape == (40, 50)
    assert Image.open(tmp_path / 'out' / 'b.jpg').size == (20, 90)
    assert result['visualization'][1].shape == (90, 20, 3)
    assert result['failed'] == []
    sample = inferencer(images[0], return_datasamples=True, fit='config')['predictions'][0]
    assert sample.pred_masks.shape == (16, 16)
    with pytest.raises(FileNotFoundError, match='No image at'):
        inferencer([str(tmp_path / 'absent.jpg')])


def test_sets_are_given_as_arrays(tmp_path) -> None:
    config = Config(CONFIG.to_dict())
    config.model = {
        'type': 'SlotSetPredictor',
        'backbone': CONFIG.model.backbone,
        'slot_head': CONFIG.model.slot_head,
        'decoder': {
            'type': 'PropertyDecoder',
            'properties': [
                {'name': 'position', 'size': 2, 'kind': 'coordinate'},
                {'name': 'shape', 'size': 3, 'kind': 'category', 'first': 1},
            ],
            'hidden_channels': 8,
        },
        'losses': [{'type': 'SetPredictionLoss'}],
    }
    Image.new('RGB', (50, 40), 'red').save(tmp_path / 'a.jpg')
    inferencer = SlotInferencer(config, device='cpu', show_progress=False)
    path = str(tmp_path / 'a.jpg')
    (arrays,) = inferencer(path, out_dir=str(tmp_path / 'out'))['predictions']
    assert arrays.keys() == {
        'name',
        'label_map',
        'masks',
        'attention',
        'slots',
        'weights',
        'active',
        'set',
    }
    assert arrays['masks'].shape == (3, 16, 20)
    assert {name: array.shape for name, array in arrays['set'].items()} == {
        'position': (3, 2),
        'shape': (3,),
        'score': (3,),
    }
    (sample,) = inferencer(path, return_datasamples=True)['predictions']
    for name, array in arrays['set'].items():
        np.testing.assert_array_equal(array, sample.pred_set[name].numpy())
    assert (tmp_path / 'out' / 'a.jpg').is_file()


def test_a_frame_needs_pictures_that_hold_it(tmp_path) -> None:
    config = Config(CONFIG.to_dict())
    config.test_dataloader.dataset.pipeline = [
        {'type': 'LoadImage', 'frame': (4, 4, 36, 36)},
        {'type': 'PackSlotInputs'},
    ]
    inferencer = SlotInferencer(config, device='cpu', show_progress=False)
    for name, size in (('large', (50, 40)), ('small', (50, 35))):
        Image.new('RGB', size, 'red').save(tmp_path / f'{name}.png')
    assert inferencer(str(tmp_path / 'large.png'))['predictions'][0]['slots'].shape == (3, 12)
    with pytest.raises(ValueError, match=r'frame \(4, 4, 36, 36\) .* does not lie in'):
        inferencer(str(tmp_path / 'small.png'))


def test_wrong_checkpoints_are_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match='No checkpoint at'):
        SlotInferencer(CONFIG, str(tmp_path / 'absent.pth'), device='cpu')
    torch.save({'state_dict': {'weight': torch.zeros(1)}}, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='1 unexpected keys: weight'):
        SlotInferencer(CONFIG, str(tmp_path / 'other.pth'), device='cpu')
