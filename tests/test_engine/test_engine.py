from unittest.mock import Mock

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import ExifTags, Image
from torch import nn

from mmocl.engine.hooks import SlotVisualizationHook, StrictCheckpointHook
from mmocl.engine.hooks.slot_visualization_hook import seen_image
from mmocl.engine.optim import Bf16OptimWrapper
from mmocl.model_files import load_checkpoint
from mmocl.structures import SlotDataSample


class Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def add_datasample(self, name, image, sample, **kwargs) -> None:
        self.calls.append((name, image.shape, sample.img_id, kwargs))


BATCH = {'inputs': [torch.zeros(3, 4, 6, dtype=torch.uint8)] * 2}
SAMPLES = [SlotDataSample(metainfo={'img_id': i}) for i in (7, 8)]


def test_hook_draws_the_first_image_of_every_nth_batch() -> None:
    runner = Mock(spec=Runner, visualizer=Recorder(), iter=50)
    hook = SlotVisualizationHook(interval=2)
    for i in range(4):
        hook.after_val_iter(runner, i, BATCH, SAMPLES)
    assert [(call[0], call[2]) for call in runner.visualizer.calls] == [('val_0', 7), ('val_2', 7)]
    assert runner.visualizer.calls[0][1] == (4, 6, 3)


def test_hook_draws_all_test_images_only_with_a_folder(tmp_path) -> None:
    runner = Mock(spec=Runner, visualizer=Recorder(), iter=0)
    SlotVisualizationHook().after_test_iter(runner, 0, BATCH, SAMPLES)
    assert not runner.visualizer.calls
    SlotVisualizationHook(show_dir=str(tmp_path)).after_test_iter(runner, 0, BATCH, SAMPLES)
    files = [call[3]['out_file'] for call in runner.visualizer.calls]
    assert files == [str(tmp_path / '7.png'), str(tmp_path / '8.png')]
    with pytest.raises(ValueError, match='at least 1, got 0'):
        SlotVisualizationHook(interval=0)


class Predictor(nn.Linear):
    """A model that makes its slots from random numbers."""

    slot_head = None

    def data_preprocessor(self, data: dict) -> dict:
        return {'inputs': torch.stack(data['inputs']).float()}

    def predict(self, inputs, samples, keep_steps: bool) -> list[SlotDataSample]:
        assert keep_steps
        samples[0].pred_steps = torch.rand(2, 3, 1, 1)
        return samples


def test_pictures_of_all_updates_are_of_another_prediction_of_the_drawn_image() -> None:
    class Steps(Recorder):
        wants_steps = True

        def add_datasample(self, name, image, sample, **kwargs) -> None:
            self.calls.append(sample)

    for model in (Predictor(1, 1), nn.DataParallel(Predictor(1, 1))):
        runner = Mock(spec=Runner, visualizer=Steps(), iter=50, model=model)
        state = torch.get_rng_state()
        SlotVisualizationHook().after_val_iter(runner, 0, BATCH, SAMPLES)
        (drawn,) = runner.visualizer.calls
        assert drawn.img_id == 7
        assert drawn.pred_steps.shape == (2, 3, 1, 1)
        # What is scored stays as it was, and so do the numbers drawn after it.
        assert 'pred_steps' not in SAMPLES[0]
        assert torch.equal(torch.get_rng_state(), state)
    runner.model = nn.Linear(1, 1)  # mmsegmentation's have no slot head
    SlotVisualizationHook().after_val_iter(runner, 0, BATCH, SAMPLES)
    assert runner.visualizer.calls[-1] is SAMPLES[0]


def test_for_cached_tokens_the_image_is_read_from_its_file(tmp_path) -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    meta = {'img_path': str(tmp_path / 'a.png'), 'img_shape': (10, 10), 'crop': 'center'}
    image = seen_image(torch.zeros(4, 5), SlotDataSample(metainfo=meta))
    assert image.shape == (10, 10, 3)
    assert (image == 255).all()
    cut = {**meta, 'frame': (0, 0, 10, 10), 'crop': 'squash'}
    assert (seen_image(torch.zeros(4, 5), SlotDataSample(metainfo=cut)) == 0).all()
    for crop in ('center', 'squash'):
        wide = {**meta, 'img_shape': (5, 15), 'crop': crop}
        assert seen_image(torch.zeros(4, 5), SlotDataSample(metainfo=wide)).shape == (5, 15, 3)


def test_seen_photographs_of_tokens_stand_upright(tmp_path) -> None:
    stored = np.zeros((6, 6, 3), np.uint8)
    stored[:3] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3  # turned by half a turn
    Image.fromarray(stored).save(tmp_path / 'a.png', exif=exif)
    meta = {'img_path': str(tmp_path / 'a.png'), 'img_shape': (6, 6), 'crop': 'center'}
    for upright, top in ((False, 255), (True, 0)):
        sample = SlotDataSample(metainfo={**meta, 'upright': upright})
        assert (seen_image(torch.zeros(4, 5), sample)[:3] == top).all()


def test_strict_hook_refuses_other_weights_and_names_both_files(tmp_path) -> None:
    (tmp_path / 'some.py').write_text('model = None')
    config = Config.fromfile(tmp_path / 'some.py')
    runner = Mock(spec=Runner, model=nn.Linear(3, 2), cfg=config)
    hook = StrictCheckpointHook()
    hook.after_load_checkpoint(runner, {'state_dict': nn.Linear(3, 2).state_dict()})
    with pytest.raises(ValueError, match=r'weight is \(2, 4\), expected \(2, 3\)'):
        hook.after_load_checkpoint(runner, {'state_dict': nn.Linear(4, 2).state_dict()})
    torch.save({'state_dict': nn.Linear(4, 2).state_dict()}, tmp_path / 'a.pth')
    checkpoint = load_checkpoint(str(tmp_path / 'a.pth'))
    with pytest.raises(ValueError, match=r"Checkpoint .*a\.pth does not fit .*some\.py': "):
        hook.after_load_checkpoint(runner, checkpoint)


def test_bf16_wrapper_runs_the_forward_pass_in_bfloat16() -> None:
    model = nn.Linear(3, 2)
    wrapper = Bf16OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    before = model.weight.detach().clone()
    with wrapper.optim_context(model):
        output = model(torch.ones(1, 3))
    assert output.dtype == torch.bfloat16
    wrapper.update_params(output.float().sum())
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)
