import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmengine.visualization import Visualizer
from PIL import Image

from mmocl.registry import VISUALIZERS
from mmocl.structures import SlotDataSample
from mmocl.visualization import SlotVisualizer, draw_panels

IMAGE = np.full((20, 30, 3), 50, np.uint8)


@pytest.fixture
def sample() -> SlotDataSample:
    sample = SlotDataSample()
    sample.pred_attn = PixelData(data=torch.rand(3, 4, 6))
    sample.pred_steps = torch.rand(2, 3, 4, 6)
    return sample


def test_panels_are_drawn_to_files_and_backends(sample, tmp_path) -> None:
    config = {
        'type': 'SlotVisualizer',
        'name': 'panels',
        'vis_backends': [{'type': 'LocalVisBackend'}],
        'save_dir': str(tmp_path),
        'panels': ['steps', 'grid'],
    }
    visualizer = VISUALIZERS.build(config)
    assert visualizer.wants_steps
    visualizer.add_datasample('a', IMAGE, sample, out_file=str(tmp_path / 'new' / 'a.png'))
    visualizer.add_datasample('b', IMAGE, sample, step=3)
    wanted = draw_panels(IMAGE, sample, ('steps', 'grid'))
    for path in (tmp_path / 'new' / 'a.png', *tmp_path.rglob('b_3.png')):
        assert (np.asarray(Image.open(path)) == wanted).all()


def test_the_default_is_one_line(sample, tmp_path) -> None:
    visualizer = SlotVisualizer('plain')
    assert isinstance(visualizer, Visualizer)
    assert visualizer.panels == ('overview',)
    assert not visualizer.wants_steps
    visualizer.add_datasample('a', IMAGE, sample, out_file=str(tmp_path / 'a.png'))
    with Image.open(tmp_path / 'a.png') as picture:
        # Two tiles of 224 x 149.
        assert picture.size == (8 + 2 * 230 - 6 + 8, 29 + 149 + 8)


def test_wrong_panels_and_protocols_are_refused() -> None:
    assert SlotVisualizer('one', panels='scores').panels == ('scores',)
    with pytest.raises(ValueError, match=r"panels must be among .*, got \['grids'\]"):
        SlotVisualizer('two', panels=['grids'])
    with pytest.raises(ValueError, match='protocol'):
        SlotVisualizer('three', protocol='absent')
