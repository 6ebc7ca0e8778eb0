"""What the report page gathers from the files of a work dir, and what it says of broken ones."""

import base64
import json
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData
from PIL import Image
from report_run import CONFIG, NUM_IMAGES, write_run

from mmocl.structures import SlotDataSample
from mmocl.visualization.report import gallery, gather
from mmocl.visualization.report.gallery import build_data, build_model, gallery_image
from mmocl.visualization.report.run_files import find_run, last_checkpoint
from mmocl.visualization.report.scores import find_scores, read_scores
from mmocl.visualization.report.selection import Choice
from mmocl.visualization.report.summary import differences, find_shipped


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp('run'))


@pytest.fixture
def work_dir(trained, tmp_path) -> Path:
    """A copy to break; the paths in it are those of the original, as after a move."""
    return Path(shutil.copytree(trained, tmp_path / 'moved'))


def test_the_last_checkpoint_is_found_also_if_the_folder_was_moved(work_dir) -> None:
    pointed = work_dir / 'iter_2.pth'
    (work_dir / 'last_checkpoint').write_text('/gone/iter_2.pth')
    assert last_checkpoint(work_dir) == pointed
    (work_dir / 'last_checkpoint').unlink()
    assert last_checkpoint(work_dir) == work_dir / 'iter_4.pth'


def test_no_work_dirs_are_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r'WORK_DIR: no folder at .*nowhere'):
        find_run(tmp_path / 'nowhere')
    with pytest.raises(ValueError, match=r'no work dir of a run: expected a config.*holds nothing'):
        find_run(tmp_path)
    (tmp_path / 'photo.jpg').touch()
    with pytest.raises(ValueError, match=r'no work dir of a run.*holds photo.jpg'):
        find_run(tmp_path)
    (tmp_path / 'setup.py').write_text("name = 'other'\n")
    with pytest.raises(ValueError, match=r'setup.py is no config of a run: it has no model'):
        find_run(tmp_path)


def test_the_config_is_that_of_the_training(trained) -> None:
    run = find_run(trained)
    assert run.name == 'psa_base_conv_sprites'
    assert run.config.train_cfg.max_iters == 4
    # The one in the work dir is that of the test, which came later.
    assert Config.fromfile(trained / 'psa_base_conv_sprites.py').train_cfg.max_iters == 1500
    shipped = find_shipped(run.name, CONFIG.parents[1])
    assert shipped is not None
    changed = {one.key: (one.shipped, one.run) for one in differences(run.config, shipped)}
    assert changed['train_cfg.max_iters'] == ('1500', '4')
    assert 'work_dir' not in changed
    assert not any(key.startswith('model') for key in changed)


def test_the_last_training_counts(work_dir) -> None:
    (first,) = (path.parent for path in work_dir.glob('*/vis_data/scalars.json'))
    later = shutil.copytree(first.parent, work_dir / '99990101_000000')
    config = Config.fromfile(later / 'vis_data/config.py')
    config.train_cfg.max_iters = 8
    config.dump(later / 'vis_data/config.py')
    assert find_run(work_dir).config.train_cfg.max_iters == 8


def test_pictures_are_those_of_the_checkpoint(trained) -> None:
    for name in ('iter_2.pth', 'iter_4.pth'):
        model = build_model(find_run(trained).config, str(trained / name), 'cpu')
        assert model is not None
        assert not model.training
        weights = torch.load(trained / name, weights_only=False)['state_dict']
        for key, value in model.state_dict().items():
            torch.testing.assert_close(value, weights[key], rtol=0, atol=0)


def test_the_gallery_reads_images_and_no_cache(tmp_path) -> None:
    Image.new('RGB', (8, 8)).save(tmp_path / 'a.png')
    nowhere = {'folder': str(tmp_path / 'nowhere')}
    caches = {'token_cache': nowhere, 'image_cache': nowhere}
    dataset = {'type': 'ImageFolder', 'data_root': str(tmp_path), **caches}
    key, data = build_data(Config({'val_dataloader': {'dataset': dataset}}))
    assert (key, len(data)) == ('val_dataloader', 1)
    assert data[0]['img_id'] == 'a.png'


def test_the_gallery_shows_what_the_model_saw_and_painted() -> None:
    sample = SlotDataSample(metainfo={'img_id': 'a', 'crop': 'center'})
    masks = torch.zeros(1, 20, 60, dtype=torch.bool)
    masks[0, :, 20:30] = True  # the left half of the square in the middle
    sample.gt_objects = InstanceData(masks=masks)
    sample.pred_attn = PixelData(data=torch.ones(2, 4, 4))
    sample.pred_slots = InstanceData(slots=torch.zeros(2, 3))
    red = torch.tensor([200.0, 0, 0])[:, None, None]
    sample.pred_image = PixelData(data=red.expand(3, 16, 16))
    image = gallery_image(Choice(0, []), np.zeros((16, 16, 3), np.uint8), sample)
    assert image.recon is not None
    assert image.truth is not None
    painted, truth = (
        np.asarray(Image.open(BytesIO(base64.b64decode(uri.split(',')[1]))))
        for uri in (image.recon, image.truth)
    )
    assert (painted == (200, 0, 0)).all()
    half = truth.shape[1] // 2
    assert (truth[:, :half] == image.object_level).all()
    assert (truth[:, half:] == 0).all()


def test_a_whole_work_dir(trained) -> None:
    report = gather(trained, num_images=4, device='cpu', configs=CONFIG.parents[1])
    assert not report.missing
    facts = {fact.name: fact.value for fact in report.facts}
    assert facts['Steps'] == '4 of 4'
    assert facts['Checkpoint'] == 'iter_4.pth'
    assert facts['Seed'] == '0'
    assert 'MMEngine' in facts['Versions']
    assert facts['Scored by'].startswith('python tools/test.py')
    assert '5 slots, 5 updates, GaussianSlots, bilevel' in report.subtitle
    titles = [chart.title for chart in report.charts]
    assert titles[0] == 'Losses'
    assert 'Signs of collapse' in titles
    (table,) = report.tables
    assert table.title == 'square128 v1'
    assert table.sources == ['decoder', 'attention']
    cell = table.rows['fg_ari']['decoder']
    recorded = json.loads((trained / 'scores.json').read_text())['metrics']['square128/fg_ari']
    assert (cell.mean, cell.low is not None) == (recorded, True)
    assert [image.labels for image in report.images] == [['worst 1'], ['best 1'], [], []]
    assert [len(image.steps) for image in report.images] == [5] * 4  # every update, for the slider
    worst, best = (image.scores['fg_ari']['decoder'] for image in report.images[:2])
    assert worst is not None
    assert best is not None
    assert worst <= best
    assert report.collapse is not None
    assert {row.name for row in report.collapse.rows} >= {'largest', 'slot_cosine'}


def test_what_is_missing_is_said(work_dir) -> None:
    for path in (work_dir / 'scores.json', *work_dir.glob('*.pth'), *work_dir.glob('*/*.json')):
        path.unlink()
    (work_dir / 'last_checkpoint').unlink()
    for path in work_dir.glob('*/vis_data/*.json'):
        path.unlink()
    report = gather(work_dir, num_images=2, device='cpu')
    assert set(report.missing) == {'curves', 'scores', 'gallery', 'collapse'}
    command = report.missing['scores'][0].command
    assert command is not None
    assert '--protocol square128 --out' in command
    assert str(work_dir) in command
    assert (report.charts, report.tables, report.images) == ([], [], [])


def test_without_records_the_results_of_a_test_or_validation_are_shown(work_dir) -> None:
    (work_dir / 'scores.json').unlink()
    report = gather(work_dir, num_images=0)
    assert report.tables[0].title == 'square128'
    assert 'Test of' in report.tables[0].caption
    for path in work_dir.glob('*/*.json'):
        path.unlink()
    report = gather(work_dir, num_images=0)
    assert report.tables[0].title == 'ocl'
    assert 'Last validation, iteration 4' in report.tables[0].caption
    assert 'square128' in report.tables[0].caption


def test_data_that_is_not_there_leaves_the_pictures_out(work_dir) -> None:
    options = {
        'test_dataloader.dataset': {
            '_delete_': True,
            'type': 'ImageFolder',
            'data_root': str(work_dir / 'nowhere'),
        }
    }
    report = gather(work_dir, num_images=2, device='cpu', options=options)
    assert 'no folder at' in report.missing['gallery'][0].why
    assert not report.images


def test_modules_that_are_not_there_leave_the_pictures_out(work_dir) -> None:
    def why(options: dict) -> str:
        report = gather(work_dir, num_images=2, device='cpu', options=options)
        assert report.charts
        assert not report.images
        return report.missing['gallery'][0].why

    # As of mmsegmentation, whose data is not looked for.
    data = {'test_dataloader.dataset': {'_delete_': True, 'type': 'PascalVOCDataset'}}
    scope = {'default_scope': 'mmseg'}
    segmentor = {'_delete_': True, 'type': 'EncoderDecoder', 'decode_head': {'type': 'FCNHead'}}
    found = why({**data, **scope, 'model': segmentor})
    assert found == 'models of type EncoderDecoder give no attention of every update'
    found = why({**data, **scope})
    assert found.startswith('the test data cannot be read: PascalVOCDataset is not in the')
    found = why({'model.decoder': {'_delete_': True, 'type': 'NoDecoder'}})
    assert found.startswith('the model cannot be built: ')
    assert 'NoDecoder is not in the' in found


@pytest.mark.parametrize('num_objects', [254, 255, 300])
def test_more_objects_than_a_map_can_hold_are_left_out(num_objects) -> None:
    sample = SlotDataSample(metainfo={'img_id': 7})
    sample.pred_attn = PixelData(data=torch.ones(1, 2, 2))
    sample.pred_slots = InstanceData(slots=torch.zeros(1, 4))
    masks = torch.zeros(num_objects, 20, 20, dtype=torch.bool)
    masks.view(num_objects, -1)[range(num_objects), range(num_objects)] = True
    sample.gt_objects = InstanceData(masks=masks)
    image = gallery_image(Choice(0, []), np.zeros((20, 20, 3), np.uint8), sample)
    if num_objects == 254:
        assert (len(image.objects), image.no_truth) == (254, '')
        assert image.truth is not None
    else:
        assert (image.objects, image.truth) == ([], None)
        wanted = f'there are {num_objects}, and a page shows at most 254 of an image'
        assert image.no_truth == wanted


def test_the_page_names_true_objects_that_it_lacks(work_dir, monkeypatch) -> None:
    monkeypatch.setattr(gallery, 'MAX_OBJECTS', 1)
    report = gather(work_dir, num_images=2, device='cpu')
    whats = [one.what for one in report.missing['gallery']]
    assert whats == [f'True objects of image {image.name}' for image in report.images]
    assert len(whats) == 2


def test_a_checkpoint_that_does_not_fit_is_refused(work_dir) -> None:
    weights = {'state_dict': {'other': torch.zeros(1)}}
    torch.save(weights, work_dir / 'other.pth')
    with pytest.raises(ValueError, match=r'other.pth does not fit the model of the config'):
        gather(work_dir, work_dir / 'other.pth', num_images=1, device='cpu')
    with pytest.raises(FileNotFoundError, match='--checkpoint: no file at'):
        gather(work_dir, work_dir / 'nowhere.pth')
    with pytest.raises(ValueError, match='--num-images must be at least 0, got -1'):
        gather(work_dir, num_images=-1)


def test_scores_of_another_run_are_refused(work_dir) -> None:
    content = json.loads((work_dir / 'scores.json').read_text())
    path = work_dir / 'other.json'
    path.write_text(json.dumps({**content, 'config': 'configs/smm/smm_conv.py', 'records': {}}))
    with pytest.raises(ValueError, match=r'not of this run: config smm_conv instead of psa_base'):
        gather(work_dir, scores=path, num_images=0)
    path.write_text(json.dumps({**content, 'training_seed': 3, 'records': {}}))
    with pytest.raises(ValueError, match=r'training seed 3 instead of 0'):
        gather(work_dir, scores=path, num_images=0)
    with pytest.raises(ValueError, match=r'checkpoint .*iter_4.pth instead of .*iter_2.pth'):
        gather(work_dir, work_dir / 'iter_2.pth', work_dir / 'scores.json', num_images=0)
    # Another training in the same folder, where scores.json names the file that is compared.
    other = torch.load(work_dir / 'iter_2.pth', weights_only=False)
    torch.save(other, work_dir / 'iter_4.pth')
    here = str(work_dir / 'iter_4.pth')
    for named in (content['checkpoint'], here):
        path.write_text(json.dumps({**content, 'checkpoint': named, 'records': {}}))
        with pytest.raises(ValueError, match=r'iter_4.pth with SHA-256 \w{12}\.\.\. instead of'):
            gather(work_dir, scores=path, num_images=0)
    # Files of older versions say no digest.
    del content['checkpoint_sha256']
    path.write_text(json.dumps({**content, 'records': {}}))
    with pytest.raises(ValueError, match=r'checkpoint .*iter_4.pth instead of .*moved/iter_4.pth'):
        gather(work_dir, scores=path, num_images=0)
    # Not asked for, they are no error, but named.
    report = gather(work_dir, work_dir / 'iter_2.pth', num_images=0)
    assert 'iter_4.pth' in report.missing['scores'][0].why


def test_files_that_are_no_scores_are_refused(work_dir) -> None:
    path = work_dir / 'broken.json'
    path.write_text('{"a"')
    with pytest.raises(ValueError, match=r'broken.json is no JSON file of tools/test.py --out'):
        read_scores(path)
    path.write_text('{"metrics": {}}')
    with pytest.raises(ValueError, match=r"it lacks \['config', 'checkpoint', 'records'\]"):
        read_scores(path)
    with pytest.raises(FileNotFoundError, match='--scores: no file at'):
        read_scores(work_dir / 'nowhere.json')
    assert find_scores(work_dir) == [work_dir / 'scores.json']
    (record,) = work_dir.glob('scores.records/*.json')
    content = json.loads(record.read_text())
    record.write_text(json.dumps({**content, 'source': {'checkpoint': 'other.pth'}}))
    with pytest.raises(ValueError, match=r'holds scores of other.pth, but'):
        read_scores(work_dir / 'scores.json')


def test_scores_of_other_images_rank_nothing(work_dir) -> None:
    (record,) = work_dir.glob('scores.records/*.json')
    content = json.loads(record.read_text())
    for image in content['images']:
        image['img_id'] += 1
    record.write_text(json.dumps(content))
    report = gather(work_dir, num_images=3, device='cpu')
    assert 'is image 2 of the record, but 1' in report.missing['gallery'][0].why
    assert [image.labels for image in report.images] == [[]] * 3
    record.write_text(json.dumps({**content, 'images': content['images'][:3]}))
    report = gather(work_dir, num_images=3, device='cpu')
    assert f'3 images are scored, but the data has {NUM_IMAGES}' in report.missing['gallery'][0].why
