"""``tools/visualize.py`` and ``tools/plot_slots.py``."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from mmocl.evaluation.slot_dump import SlotDump
from mmocl.registry import MODELS
from mmocl.visualization import slot_embedding
from tools import plot_slots, visualize

ROOT = Path(__file__).resolve().parents[1]
CONFIG = str(ROOT / 'configs/psa/psa_base_conv_sprites.py')


def call(monkeypatch: pytest.MonkeyPatch, tool, *args: str) -> None:
    monkeypatch.setattr(sys, 'argv', [tool.__name__, *args])
    tool.main()


@pytest.fixture
def checkpoint(tmp_path) -> str:
    init_default_scope('mmocl')
    path = tmp_path / 'model.pth'
    torch.save({'state_dict': MODELS.build(Config.fromfile(CONFIG).model).state_dict()}, path)
    return str(path)


def test_test_images_are_drawn(checkpoint, tmp_path, monkeypatch, capsys) -> None:
    def draw(folder: str, *options: str) -> list[tuple[str, tuple[int, int]]]:
        call(
            monkeypatch, visualize, CONFIG, checkpoint, '--out-dir', str(tmp_path / folder),
            '--device', 'cpu', '--num-images', '3', *options,
            '--cfg-options', 'test_dataloader.batch_size=2',
        )  # fmt: skip
        files = sorted((tmp_path / folder).iterdir())
        return [(file.name, Image.open(file).size) for file in files]

    drawn = draw('a', '--embedding', '--num-iters', '2', '--num-slots', '4')
    assert [name for name, _ in drawn] == ['0.png', '1.png', '2.png', 'slot_embedding.png']
    assert 'Pictures are in' in capsys.readouterr().out
    sizes = [size for _, size in drawn]
    # Two updates and the decoder's masks beside the image; four rows.
    assert sizes[0] == sizes[1] == (8 + 4 * 230 - 6 + 8, 289 + 261 + 29 + 4 * 118 - 6 + 8)
    assert sizes[3] == (800, 800)
    # The picture is the same every time.
    again = draw('b', '--num-iters', '2', '--num-slots', '4')
    assert again == drawn[:3]
    for name, _ in again:
        first, second = (Image.open(tmp_path / folder / name) for folder in 'ab')
        assert (np.asarray(first) == np.asarray(second)).all()
    assert draw('c', '--panels', 'overview', '--side', '64')[0][1] == (8 + 5 * 70 - 6 + 8, 101)
    with pytest.raises(ValueError, match='--num-images must be at least 1, got 0'):
        draw('d', '--num-images', '0')


def test_images_may_be_in_folders_and_caches_may_be_missing(
    checkpoint, tmp_path, monkeypatch
) -> None:
    (tmp_path / 'photos/sub').mkdir(parents=True)
    Image.new('RGB', (40, 30), 'red').save(tmp_path / 'photos/sub/a.jpg')
    dataset = {'type': 'ImageFolder', 'data_root': str(tmp_path / 'photos')}
    dataset['pipeline'] = [
        {'type': 'LoadImage'},
        {'type': 'ResizeCrop', 'size': 32},
        {'type': 'PackSlotInputs'},
    ]
    config = Config.fromfile(CONFIG)
    config.test_dataloader.dataset = {**dataset, 'token_cache': str(tmp_path / 'nowhere')}
    config.dump(tmp_path / 'config.py')
    call(
        monkeypatch, visualize, str(tmp_path / 'config.py'), checkpoint, '--device', 'cpu',
        '--out-dir', str(tmp_path / 'out'), '--panels', 'overview',
    )  # fmt: skip
    assert (tmp_path / 'out/sub/a.jpg.png').is_file()


def test_the_protocol_is_that_of_the_config() -> None:
    assert visualize.protocol_of(Config.fromfile(CONFIG)) == 'square128'
    coco = Config.fromfile(ROOT / 'configs/psa/psa_dino_mlp_small.py')
    assert visualize.protocol_of(coco) == 'spot320'
    assert visualize.protocol_of(Config({'test_evaluator': {'type': 'X'}})) == 'square128'
    assert visualize.protocol_of(Config({})) == 'square128'


def test_slots_of_a_dump_are_drawn(tmp_path, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    slots = rng.normal(size=(5, 2, 4)).astype(np.float32)
    active = np.ones((5, 2), bool)
    active[:, 1] = False
    names = np.array(list('abcde'))
    SlotDump(names, slots, active)  # what is written is one
    np.savez(tmp_path / 'slots.npz', img_id=names, slots=slots, active=active)
    out = tmp_path / 'new' / 'out.png'
    call(monkeypatch, plot_slots, str(tmp_path), str(out), '--num-images', '4', '--size', '300')
    wanted = slot_embedding(slots[:4], active[:4], size=300)
    assert (np.asarray(Image.open(out)) == wanted).all()
    # tools/infer.py names the images otherwise.
    np.savez(tmp_path / 'infer.npz', names=names, slots=slots, weights=active, active=active)
    call(
        monkeypatch, plot_slots, str(tmp_path / 'infer.npz'), str(out),
        '--num-images', '4', '--size', '300',
    )  # fmt: skip
    assert (np.asarray(Image.open(out)) == wanted).all()
    with pytest.raises(ValueError, match='--size must be at least 1, got 0'):
        call(monkeypatch, plot_slots, str(tmp_path), str(out), '--size', '0')
