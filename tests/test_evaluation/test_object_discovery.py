"""The metric as MMEngine's evaluator calls it."""

import json
import logging

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from torch.nn import functional

from mmocl.evaluation.metrics import ObjectDiscoveryMetric
from mmocl.registry import METRICS
from mmocl.structures import SlotDataSample

NAMES = ('fg_ari', 'fg_ari_multi', 'ari', 'mbo_i', 'mbo_c', 'miou', 'corloc', 'recall')
COUNTS = ('num_images', 'num_images_mbo', 'num_images_multi')


def make_sample(img_id, columns, pred_columns, size=32, **kwargs):
    """Image of vertical stripes: true stripe i covers ``columns[i]``; masks are one-hot stripes."""
    masks = torch.zeros(len(columns), size, size, dtype=torch.bool)
    for mask, (start, stop) in zip(masks, columns, strict=True):
        mask[:, start:stop] = True
    soft = torch.zeros(len(pred_columns), size, size)
    for mask, (start, stop) in zip(soft, pred_columns, strict=True):
        mask[:, start:stop] = 1
    sample = SlotDataSample(metainfo={'img_id': img_id})
    num = len(columns)
    sample.gt_objects = InstanceData(
        masks=masks,
        labels=torch.tensor(kwargs.get('labels', [1] * num), dtype=torch.int64),
        crowd=torch.tensor(kwargs.get('crowd', [False] * num), dtype=torch.bool),
    )
    sample.pred_masks = PixelData(data=soft)
    # The attention puts everything into one slot.
    sample.pred_attn = PixelData(data=torch.stack([torch.ones(8, 8), torch.zeros(8, 8)]))
    return sample


@pytest.fixture
def samples():
    return [
        make_sample(1, [(0, 8), (8, 16)], [(0, 8), (8, 16), (16, 32)], labels=[1, 2]),
        make_sample(2, [(0, 16)], [(0, 8), (8, 16), (16, 32)]),
        make_sample(3, [], [(0, 16), (16, 32)]),
    ]


def evaluate(samples, size=None, **kwargs):
    evaluator = Evaluator(ObjectDiscoveryMetric(**kwargs))
    for sample in samples:
        evaluator.process([sample])
    return evaluator.evaluate(len(samples) if size is None else size)


def test_values(samples):
    results = evaluate(samples, protocol='square128')
    assert set(results) == {
        f'ocl/{name}' for name in (*NAMES, *(f'attn_{name}' for name in NAMES), *COUNTS)
    }
    assert all(type(value) is float for value in results.values())
    assert results['ocl/num_images'] == 3
    assert results['ocl/num_images_mbo'] == 2
    assert results['ocl/num_images_multi'] == 1
    # Image 1 is perfect, image 2 splits its only object, image 3 is skipped but in ``ari``.
    assert results['ocl/fg_ari'] == 0.5
    assert results['ocl/fg_ari_multi'] == 1.0
    assert results['ocl/mbo_i'] == (1 + 0.5) / 2
    assert results['ocl/mbo_c'] == (1 + 0.5) / 2
    assert 0 < results['ocl/ari'] < 1
    # All in one slot: merged objects, one whole object; IoU 1/4 and 1/2.
    assert results['ocl/attn_fg_ari'] == 0.5
    assert results['ocl/attn_mbo_i'] == (1 / 4 + 1 / 2) / 2
    assert results['ocl/attn_ari'] == pytest.approx(1 / 3)


def test_empty_images_count_one_for_spot(samples):
    results = evaluate(samples, protocol='spot320')
    assert results['ocl/fg_ari'] == pytest.approx((1 + 0 + 1) / 3)
    assert results['ocl/num_images_mbo'] == 2


def test_instances_of_one_class_are_one_class_segment():
    # The background is split, which costs nothing.
    sample = make_sample(1, [(0, 8), (8, 16)], [(0, 16), (16, 24), (24, 32)], labels=[5, 5])
    results = evaluate([sample], mask_sources=['decoder'])
    assert results['ocl/mbo_c'] == 1.0
    assert results['ocl/mbo_i'] == 0.5
    assert not any('attn' in key for key in results)


def test_crowd_follows_the_protocol():
    sample = make_sample(1, [(0, 8), (8, 16)], [(0, 8), (8, 32)], crowd=[False, True])
    kept = evaluate([sample], protocol='spot320')
    assert kept['ocl/mbo_i'] == pytest.approx((1 + 1 / 3) / 2)
    assert evaluate([sample], protocol='oclf320')['ocl/mbo_i'] == 1.0


def test_void_is_read():
    sample = make_sample(1, [(0, 8)], [(0, 16), (16, 32)])
    void = torch.zeros(1, 32, 32, dtype=torch.bool)
    void[..., 8:16] = True
    sample.gt_void = PixelData(data=void)
    assert evaluate([sample], protocol='oclf320')['ocl/mbo_i'] == 1.0
    assert evaluate([sample], protocol='spot320')['ocl/mbo_i'] == 0.5


def test_all_images_without_objects_give_nan(recwarn):
    results = evaluate([make_sample(1, [], [(0, 32)])], protocol='square128')
    assert np.isnan(results['ocl/mbo_i'])
    assert np.isnan(results['ocl/fg_ari'])
    assert results['ocl/num_images_mbo'] == 0
    assert not [w for w in recwarn if 'empty slice' in str(w.message)]


def test_elements_need_not_be_dicts(samples):
    metric = ObjectDiscoveryMetric()
    metric.process(None, [samples[0].to_dict()])
    sample = {key: getattr(samples[0], key) for key in ('gt_objects', 'pred_masks', 'pred_attn')}
    metric.process(None, [{'img_id': 1, **sample}])
    assert metric.results[0] == metric.results[1]


def test_one_record_per_image_and_the_number_is_checked(samples):
    metric = ObjectDiscoveryMetric()
    metric.process(None, [sample.to_dict() for sample in samples])
    assert [record['img_id'] for record in metric.results] == [1, 2, 3]
    for size in (2, 4):
        with pytest.raises(ValueError, match=f'3 images were scored, but the dataset holds {size}'):
            evaluate(samples, size=size)


def test_records_are_written(samples, tmp_path):
    path = tmp_path / 'new' / 'records.json'
    evaluate(samples, protocol='square128', record_path=str(path))
    content = json.loads(path.read_text())
    assert (content['protocol'], content['version']) == ('square128', 1)
    assert [image['img_id'] for image in content['images']] == [1, 2, 3]
    assert [image['num_objects'] for image in content['images']] == [2, 1, 0]
    assert [image['fg_ari'] for image in content['images']] == [1.0, 0.0, None]
    assert [image['mbo_i'] for image in content['images']] == [1.0, 0.5, None]
    assert content['num_images'] == 3
    assert content['switches']['mask_size'] == 128
    summary = content['summary']
    assert summary['mbo_i'] == {'mean': 0.75, 'low': 0.5, 'high': 1.0, 'num_images': 2}
    assert summary['fg_ari_multi'] == {'mean': 1.0, 'low': None, 'high': None, 'num_images': 1}
    assert summary.keys() == {f'{prefix}{name}' for prefix in ('', 'attn_') for name in NAMES}


def logged(samples, **kwargs):
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        evaluate(samples, **kwargs)
    finally:
        logger.removeHandler(handler)
    return lines


def test_log_names_protocol_version_and_number(samples):
    lines = logged(samples, protocol='square128')
    assert any('square128 v1' in line and '3 images scored' in line for line in lines)


def test_average_over_objects():
    samples = [
        make_sample(1, [(0, 8), (8, 16)], [(0, 8), (8, 16), (16, 32)], labels=[1, 1]),
        make_sample(2, [(0, 16)], [(0, 8), (8, 16), (16, 32)]),
        make_sample(3, [], [(0, 32)]),
    ]
    by_object = evaluate(samples, protocol={'name': 'square128', 'average': 'object'})
    # Three instances with best overlaps 1, 1, 1/2; two classes with 1/2 (both images) each.
    assert by_object['ocl/mbo_i'] == pytest.approx(2.5 / 3)
    assert evaluate(samples, protocol='square128')['ocl/mbo_i'] == 0.75
    assert by_object['ocl/mbo_c'] == 0.5
    assert by_object['ocl/recall'] == pytest.approx(2 / 3)
    # These are of the image.
    for name in ('fg_ari', 'ari', 'corloc'):
        assert by_object[f'ocl/{name}'] == evaluate(samples, protocol='square128')[f'ocl/{name}']


def test_scores_can_be_chosen(samples):
    results = evaluate(
        samples, protocol='square128', scores=['box_corloc', 'sc'], mask_sources=['decoder']
    )
    assert results.keys() == {'ocl/box_corloc', 'ocl/sc', 'ocl/num_images'}
    assert results['ocl/box_corloc'] == 0.5


@pytest.mark.parametrize(
    ('meta', 'protocol', 'text'),
    [
        ({'crop': 'squash'}, 'spot320', "shown with crop='squash', but protocol 'spot320' scores"),
        ({'crop': 'center'}, 'square128', "scores crop='squash'; change the pipeline"),
        ({'crop': 'squash'}, 'clevr6crop128', r'frame=None, but .* frame=\(29, 64, 221, 256\)'),
    ],
)
def test_another_part_of_the_image(samples, meta, protocol, text):
    samples[0].set_metainfo(meta)
    with pytest.raises(ValueError, match=text):
        evaluate(samples, protocol=protocol)


def test_what_the_model_saw_is_said(samples, tmp_path):
    for sample, size in zip(samples, (64, 64, 32), strict=True):
        sample.set_metainfo({'crop': 'center', 'img_shape': (size, size)})
    record = tmp_path / 'record.json'
    lines = logged(samples, protocol='spot320', record_path=str(record))
    assert any('are of models that see 224x224 pixels; this one saw [(32, 3' in x for x in lines)
    assert json.loads(record.read_text())['shown'] == [
        {'crop': 'center', 'size': [size, size], 'frame': None} for size in (32, 64)
    ]
    for sample in samples:
        sample.set_metainfo({'img_shape': (224, 224)})
    assert not any('are of models' in x for x in logged(samples, protocol='spot320'))


def test_background_needs_complete_annotations(samples):
    metric = ObjectDiscoveryMetric(protocol='genera1z256')
    metric.dataset_meta = {'dataset_type': 'CocoObjects', 'complete': False}
    with pytest.raises(ValueError, match=r'CocoObjects annotates objects only.*use CocoPanoptic'):
        metric.process(None, [samples[0].to_dict()])
    metric.dataset_meta = {'dataset_type': 'ClevrTex'}
    metric.process(None, [samples[0].to_dict()])


@pytest.mark.parametrize('sizes', [[1] * 7, [7], [3, 3, 1], [2, 5]])
def test_batches_do_not_matter(sizes):
    rng = np.random.default_rng(0)
    samples = []
    for index in range(7):
        edges = sorted(rng.integers(0, 33, 2 * rng.integers(0, 4)))
        columns = list(zip(edges[::2], edges[1::2], strict=True))
        samples.append(make_sample(index, columns, [(0, 9), (9, 20), (20, 32)]))
    evaluator = Evaluator(ObjectDiscoveryMetric('coda224'))
    start = 0
    for size in sizes:
        evaluator.process(samples[start : start + size])
        start += size
    np.testing.assert_equal(evaluator.evaluate(7), evaluate(samples, protocol='coda224'))


def test_built_from_a_config(samples):
    config = {'type': 'ObjectDiscoveryMetric', 'protocol': 'videosaur224', 'prefix': 'val'}
    metric = METRICS.build(config)
    metric.process(None, [samples[0].to_dict()])
    assert metric.evaluate(1)['val/mbo_i'] == 1.0


@pytest.mark.parametrize(
    ('kwargs', 'text'),
    [
        ({'protocol': 'nope'}, 'known: .*oclf320, spot320'),
        ({'mask_sources': ['slots']}, 'mask_sources must be among'),
        ({'mask_sources': []}, 'mask_sources must be among'),
        ({'mask_sources': ['decoder', 'segmentor']}, "only one of 'decoder' and 'segmentor'"),
        ({'mask_sources': ['attention', 'attention']}, 'expected each once'),
        ({'scores': ['iou']}, r"scores must be among \['fg_ari', .*, got \['iou'\]"),
        ({'scores': []}, 'scores must be among'),
        ({'protocol': {'name': 'spot320', 'void': 'no'}}, "void of mask protocol 'spot320"),
    ],
)
def test_wrong_arguments(kwargs, text):
    with pytest.raises(ValueError, match=text):
        ObjectDiscoveryMetric(**kwargs)


def test_missing_fields_are_named(samples):
    metric = ObjectDiscoveryMetric()
    sample = samples[0].to_dict()
    with pytest.raises(ValueError, match="source 'decoder' needs 'pred_masks'"):
        metric.process(None, [{k: v for k, v in sample.items() if k != 'pred_masks'}])
    with pytest.raises(ValueError, match=r"image 1 has no ground truth.*'gt_objects'"):
        metric.process(None, [{k: v for k, v in sample.items() if k != 'gt_objects'}])
    sample['pred_attn']['data'][0, 0, 0] = float('nan')
    with pytest.raises(ValueError, match='pred_attn of image 1: soft masks hold NaN'):
        metric.process(None, [sample])
    assert not metric.results


def test_masks_of_a_segmentor(samples):
    # What mmsegmentation gives has another class, and the size of the file.
    segmented = []
    for sample in samples:
        wide = functional.interpolate(sample.pred_masks.data[None], (40, 60), mode='bilinear')[0]
        other = BaseDataElement(metainfo={**sample.metainfo, 'crop': 'squash'})
        other.set_data({'gt_objects': sample.gt_objects, 'seg_logits': PixelData(data=wide)})
        segmented.append(other)
    wanted = evaluate(samples, protocol='square128', mask_sources=['decoder'])
    squashed = {'name': 'spot320', 'crop': 'squash'}
    got = evaluate(segmented, protocol='square128', mask_sources=['segmentor'])
    assert got == pytest.approx(wanted, abs=0.02, nan_ok=True)
    assert got['ocl/mbo_i'] > 0.5
    assert evaluate(segmented, protocol=squashed, mask_sources='segmentor')['ocl/mbo_i'] > 0.5
    metric = ObjectDiscoveryMetric('square128', ['segmentor'])
    metric.dataset_meta = {'dataset_type': 'VocObjects', 'classes': ('slot 0', 'slot 1')}
    with pytest.raises(
        ValueError, match=r'has \d channels, but the data set has 2 classes; num_slots'
    ):
        metric.process(None, [segmented[0].to_dict()])
    with pytest.raises(ValueError, match=r"or the protocol, as in dict\(name=..., crop='squash'\)"):
        evaluate(segmented, protocol='spot320', mask_sources=['segmentor'])
    with pytest.raises(ValueError, match=r"'pred_masks'.* there are those of \['segmentor'\]"):
        evaluate(segmented, protocol='square128')
