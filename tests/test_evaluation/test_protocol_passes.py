"""Which presets share a pass, and what it shows the model."""

import pytest
from mmengine.config import Config

from mmocl.evaluation.protocols import PROTOCOLS, protocol_passes

COCO = 'configs/dinosaur/dinosaur_mlp_coco.py'
CLEVR = 'configs/slot_attention/slot_attention_clevr6.py'


def steps(cfg):
    pipeline = cfg.test_dataloader.dataset.pipeline
    return {step['type']: step for step in pipeline}


def test_presets_of_one_input_share_a_pass():
    cfg = Config.fromfile(COCO)
    names = ['spot320', 'ft518', 'videosaur224', 'square128', 'coda224']
    passes = protocol_passes(cfg, names, 'w/records')
    groups = [[metric['protocol'] for metric in p.test_evaluator] for p in passes]
    assert groups == [['spot320', 'videosaur224', 'coda224'], ['ft518'], ['square128']]
    shown = [(steps(p)['ResizeCrop']['crop'], steps(p)['ResizeCrop']['size']) for p in passes]
    assert shown == [('center', 224), ('center', 518), ('squash', 224)]
    first = passes[0].test_evaluator[0]
    assert (first['prefix'], first['record_path']) == ('spot320', 'w/records/spot320.json')
    assert first['mask_sources'] == cfg.test_evaluator['mask_sources']
    # The config itself, from which training could go on, is as it was.
    assert steps(cfg)['ResizeCrop']['size'] == 224
    assert cfg.test_evaluator == Config.fromfile(COCO).test_evaluator


def test_frames():
    cfg = Config.fromfile(CLEVR)
    (own,) = protocol_passes(cfg, ['clevr6crop128', 'square128'], 'w')
    assert [metric['protocol'] for metric in own.test_evaluator] == ['clevr6crop128', 'square128']
    (other,) = protocol_passes(cfg, ['clevrtexcrop128'], 'w')
    assert steps(other)['LoadImage']['frame'] == (24, 64, 216, 256)


def test_a_config_without_masks_metric_gets_the_default():
    cfg = Config.fromfile(COCO)
    cfg.test_evaluator = [{'type': 'SlotCovarianceMetric'}]
    (only,) = protocol_passes(cfg, ['spot320'], 'w')
    (metric,) = only.test_evaluator
    assert metric['type'] == 'mmocl.ObjectDiscoveryMetric'
    assert 'mask_sources' not in metric


def test_what_cannot_be_shown_is_refused():
    cfg = Config.fromfile('configs/dinosaur/dinosaur_mlp_small.py')
    (same,) = protocol_passes(cfg, ['spot320'], 'w')
    assert same.test_dataloader.dataset.token_cache
    with pytest.raises(
        ValueError,
        match=r"'ft518' shows the model centre crops of 518x518, but the tokens of "
        r"token_cache='.*' were made of centre crops of 224x224",
    ):
        protocol_passes(cfg, ['ft518'], 'w')
    sprites = Config.fromfile('configs/psa/psa_conv_sprites.py')
    with pytest.raises(ValueError, match='pipeline of ColoredSprites has no LoadImage and ResizeC'):
        protocol_passes(sprites, ['clevr6crop128'], 'w')


@pytest.mark.parametrize(
    ('names', 'text'),
    [
        ([], r'expected one protocol or more, each once, got \[\]'),
        (['spot320', 'spot320'], 'each once, got'),
        (['spot'], f'unknown mask protocol .*known: {", ".join(sorted(PROTOCOLS))}'),
    ],
)
def test_wrong_names(names, text):
    with pytest.raises(ValueError, match=text):
        protocol_passes(Config.fromfile(COCO), names, 'w')


def mmseg_config(**resize):
    dataset = {'type': 'mmocl.SlotSegDataset', 'pipeline': [{'type': 'LoadImageFromFile'}]}
    if resize:
        dataset['pipeline'].append({'type': 'Resize', **resize})
    evaluator = {'type': 'mmocl.ObjectDiscoveryMetric', 'mask_sources': ['segmentor']}
    return Config({'test_dataloader': {'dataset': dataset}, 'test_evaluator': evaluator})


def test_mmseg_shows_whole_images_at_any_size():
    cfg = mmseg_config(scale=(512, 384), keep_ratio=True)
    names = ['square128', 'covloss128', 'square64', 'spot320(crop=squash)']
    passes = protocol_passes(cfg, names, 'w')
    groups = [[metric['protocol'] for metric in p.test_evaluator] for p in passes]
    assert groups == [['square128', 'square64'], ['covloss128'], ['spot320(crop=squash)']]
    shown = [(steps(p)['Resize']['scale'], steps(p)['Resize']['keep_ratio']) for p in passes]
    assert [tuple(scale) for scale, _ in shown] == [(512, 384), (128, 128), (224, 224)]
    assert [keep for _, keep in shown] == [True, False, False]
    square = mmseg_config(scale=(128, 128))
    (only,) = protocol_passes(square, ['square128', 'covloss128'], 'w')
    assert only.test_dataloader == square.test_dataloader
    square.test_evaluator = {'type': 'IoUMetric'}
    (only,) = protocol_passes(square, ['square128'], 'w')
    assert only.test_evaluator[0]['mask_sources'] == ['segmentor']


def test_the_size_of_mmsegs_resize_may_be_a_number_or_a_factor():
    cfg = mmseg_config(scale=128)
    (only,) = protocol_passes(cfg, ['square128', 'covloss128'], 'w')
    assert only.test_dataloader == cfg.test_dataloader
    (only,) = protocol_passes(mmseg_config(scale_factor=0.5), ['covloss128'], 'w')
    assert 'scale_factor' not in steps(only)['Resize']
    assert tuple(steps(only)['Resize']['scale']) == (128, 128)


@pytest.mark.parametrize('name', ['spot320', 'clevr6crop128'])
def test_mmseg_shows_no_crops(name):
    with pytest.raises(ValueError, match=rf"'{name}' shows .* a protocol with crop=squash"):
        protocol_passes(mmseg_config(scale=(128, 128)), [name], 'w')
    with pytest.raises(ValueError, match='expected a pipeline with it'):
        protocol_passes(mmseg_config(), ['covloss128'], 'w')
