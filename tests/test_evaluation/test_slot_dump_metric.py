"""Slot dumps: the metric in MMEngine's evaluator, and the overlaps in what it writes."""

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData, PixelData

from mmocl.evaluation.functional import object_iou
from mmocl.evaluation.metrics import SlotDumpMetric
from mmocl.evaluation.protocols import get_protocol
from mmocl.evaluation.slot_dump import SlotDump
from mmocl.registry import METRICS
from mmocl.structures import SlotDataSample

SIDE, NUM_SLOTS = 16, 3


def make_sample(img_id, ids: list[int], properties=True, crowd=()) -> SlotDataSample:
    """An image of stripes: column ``c`` belongs to object ``ids[c]``, 0 is background.

    Slot k covers columns k, k + 3, ... Positions and shapes are 10 and 1 times the object's id.
    """
    sample = SlotDataSample(metainfo={'img_id': img_id})
    num_objects = max(ids)
    columns = torch.tensor(ids).repeat_interleave(SIDE // len(ids))
    masks = (columns == torch.arange(1, num_objects + 1)[:, None])[:, None].repeat(1, SIDE, 1)
    number = torch.arange(1, num_objects + 1)
    sample.gt_objects = InstanceData(
        masks=masks,
        labels=number.clone(),
        crowd=torch.tensor([i in crowd for i in number.tolist()], dtype=torch.bool),
    )
    if properties:
        sample.gt_objects.position = 10 * torch.stack([number, -number], 1).double()
        sample.gt_objects.shape = number.int()
    slot = torch.arange(len(ids)).repeat_interleave(SIDE // len(ids)) % NUM_SLOTS
    soft = (slot == torch.arange(NUM_SLOTS)[:, None])[:, None].repeat(1, SIDE, 1)
    sample.pred_masks = PixelData(data=soft.float())
    sample.pred_attn = PixelData(data=soft.bfloat16())
    sample.pred_slots = InstanceData(
        slots=torch.arange(NUM_SLOTS * 2).view(NUM_SLOTS, 2).bfloat16() + ord(str(img_id)[-1]) % 7,
        active=torch.arange(NUM_SLOTS) != 2,
    )
    return sample


@pytest.fixture
def samples() -> list[SlotDataSample]:
    return [
        make_sample('a', [1, 2, 0, 0]),
        make_sample('b', [0, 0, 0, 0]),
        # The second object has no pixel, the first one is a crowd.
        make_sample('c', [1, 0, 3, 3], crowd=[1]),
    ]


def write(samples, batch_size: int = 2, **options) -> dict[str, float]:
    evaluator = Evaluator(METRICS.build({'type': 'SlotDumpMetric', **options}))
    for i in range(0, len(samples), batch_size):
        evaluator.process(samples[i : i + batch_size])
    return evaluator.evaluate(len(samples))


def read(path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def test_everything_is_written(samples, tmp_path) -> None:
    path = tmp_path / 'new' / 'dump.npz'
    results = write(
        samples,
        path=str(path),
        properties=['position', 'shape'],
        mask_source='decoder',
        attention=True,
    )
    assert results == {
        'dump/num_images': 3.0,
        'dump/num_slots': 3.0,
        'dump/slot_dim': 2.0,
        'dump/num_objects': 4.0,
    }
    assert all(type(value) is float for value in results.values())
    arrays = read(path)
    assert arrays.keys() == {
        'img_id', 'slots', 'active', 'attn', 'num_objects', 'object_position', 'object_shape',
        'iou', 'info',
    }  # fmt: skip
    assert arrays['img_id'].tolist() == ['a', 'b', 'c']
    expected = np.stack([sample.pred_slots.slots.float() for sample in samples])
    np.testing.assert_array_equal(arrays['slots'], expected)
    assert arrays['active'].tolist() == [[True, True, False]] * 3
    assert arrays['attn'].shape == (3, NUM_SLOTS, SIDE * SIDE)
    assert arrays['attn'].sum(axis=1).tolist() == np.ones((3, SIDE * SIDE)).tolist()
    types = {name: x.dtype for name, x in arrays.items() if name not in ('img_id', 'info')}
    floats = {'slots', 'attn', 'object_position', 'iou'}
    assert {name for name, kind in types.items() if kind == np.float32} == floats
    assert types['object_shape'] == types['num_objects'] == np.int64

    assert arrays['num_objects'].tolist() == [2, 0, 2]
    assert arrays['object_shape'].tolist() == [[1, 2], [0, 0], [2, 3]]
    assert arrays['object_position'][2].tolist() == [[20, -20], [30, -30]]
    # Slots cover columns 0 and 3, 1, 2. What the crowd leaves is background.
    assert arrays['iou'][0].tolist() == [[0.5, 0], [0, 1], [0, 0]]
    assert not arrays['iou'][1].any()
    assert arrays['iou'][2].tolist() == [[0, np.float32(1 / 3)], [0, 0], [0, 0.5]]


def test_a_protocol_that_keeps_crowds_keeps_their_properties(samples, tmp_path) -> None:
    path = tmp_path / 'dump.npz'
    write(samples, path=str(path), properties='shape', protocol='spot320', mask_source='attention')
    arrays = read(path)
    assert arrays['num_objects'].tolist() == [2, 0, 3]
    assert arrays['object_shape'].tolist() == [[1, 2, 0], [0, 0, 0], [1, 2, 3]]
    np.testing.assert_allclose(
        arrays['iou'][2], [[0.5, 0, 1 / 3], [0, 0, 0], [0, 0, 0.5]], atol=0.02
    )


@pytest.mark.parametrize(
    ('protocol', 'kept'), [('square128', [3]), ('genera1z256', [2, 3]), ('ignored', [3])]
)
def test_stuff_and_crowds_have_no_column(protocol, kept, tmp_path) -> None:
    """Segment 1 is stuff and 2 a crowd; each of them covers one slot."""
    sample = make_sample('a', [1, 2, 3, 3], crowd=[2])
    sample.gt_objects.stuff = torch.tensor([True, False, False])
    path = tmp_path / 'dump.npz'
    if protocol == 'ignored':
        protocol = {'name': 'square128', 'crowd': 'ignore'}
    write([sample], path=str(path), properties=['shape'], protocol=protocol, mask_source='decoder')
    arrays = read(path)
    assert arrays['num_objects'].tolist() == [len(kept)]
    assert arrays['object_shape'].tolist() == [kept]
    # Slots cover columns 0 and 3, 1, 2.
    column = {2: [0, 1, 0], 3: [1 / 3, 0, 1 / 2]}
    expected = np.array([column[i] for i in kept]).T
    np.testing.assert_allclose(arrays['iou'][0], expected, rtol=1e-6)
    # Without masks, properties are the same.
    write([sample], path=str(path), properties=['shape'], protocol=protocol)
    assert read(path)['object_shape'].tolist() == [kept]


def test_arrays_do_as_well_as_tensors(samples, tmp_path) -> None:
    record = samples[0].to_dict()
    expected = record['pred_slots']['slots'].float().numpy()
    metric = SlotDumpMetric(str(tmp_path / 'dump.npz'), attention=True)
    record['pred_slots'] = {'slots': expected, 'active': np.ones(NUM_SLOTS, bool)}
    record['pred_attn'] = {'data': record['pred_attn']['data'].float().numpy()}
    metric.process(None, [record])
    np.testing.assert_array_equal(metric.results[0]['slots'], expected)


@pytest.mark.parametrize('batch_size', [1, 3])
def test_batches_do_not_matter(batch_size, samples, tmp_path) -> None:
    for path, size in ((tmp_path / 'a.npz', 2), (tmp_path / 'b.npz', batch_size)):
        write(samples, size, path=str(path), properties=['shape'], mask_source='decoder')
    first, second = read(tmp_path / 'a.npz'), read(tmp_path / 'b.npz')
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(second[name], values, name)


def test_what_is_not_asked_for_is_not_needed(tmp_path) -> None:
    samples = [make_sample(i, [1, 2, 0, 0]) for i in range(3)]
    for sample in samples:
        del sample.gt_objects, sample.pred_attn, sample.pred_masks
    path = tmp_path / 'dump.npz'
    assert 'dump/num_objects' not in write(samples, path=str(path))
    assert read(path).keys() == {'img_id', 'slots', 'active'}
    # Properties need no masks.
    for sample in samples:
        sample.gt_objects = InstanceData(position=torch.rand(2, 3))
    write(samples, path=str(path), properties=['position'])
    assert read(path)['object_position'].shape == (3, 2, 3)
    assert SlotDump.load(path).iou is None


def test_surplus_records_of_a_sampler_are_cut(samples, tmp_path) -> None:
    metric = SlotDumpMetric(str(tmp_path / 'dump.npz'))
    metric.process(None, [sample.to_dict() for sample in [*samples, samples[0]]])
    assert metric.evaluate(3)['dump/num_images'] == 3
    assert SlotDump.load(metric.path).img_id.tolist() == ['a', 'b', 'c']


def test_where_slots_come_from_is_completed(samples, tmp_path) -> None:
    path, given = tmp_path / 'dump.npz', {'config': 'a.py', 'seed': 3}
    square = get_protocol('square128')
    protocol = {'protocol': 'square128', 'protocol_version': square.version}
    write(samples, path=str(path), info=given)
    assert SlotDump.load(path).info == given
    # Without overlaps, the protocol still says which objects there are.
    write(samples, path=str(path), info=given, properties=['shape'])
    assert SlotDump.load(path).info == {**given, **protocol}
    write(samples, path=str(path), mask_source='decoder')
    assert SlotDump.load(path).info == {**protocol, 'mask_source': 'decoder'}
    with pytest.raises(ValueError, match=r"info of .* names \['mask_source'\], which the metric"):
        SlotDumpMetric(str(path), mask_source='decoder', info={'mask_source': 'attention'})
    with pytest.raises(ValueError, match='info of SlotDumpMetric must hold strings'):
        SlotDumpMetric(str(path), info={'seed': float('nan')})


def test_bad_options_are_named(samples, tmp_path) -> None:
    path = str(tmp_path / 'dump.npz')
    with pytest.raises(ValueError, match=r"name \['masks'\], which are no properties"):
        SlotDumpMetric(path, ['masks'])
    message = r"among \['decoder', 'attention', 'segmentor'\], got \['other'\]"
    with pytest.raises(ValueError, match=message):
        SlotDumpMetric(path, mask_source='other')
    with pytest.raises(ValueError, match="unknown mask protocol 'square'"):
        SlotDumpMetric(path, protocol='square')
    known = r"name \['size'\], but 'gt_objects' of image 'a' hold \['labels', 'position', 'shape'\]"
    with pytest.raises(ValueError, match=known):
        write(samples, path=path, properties=['size', 'shape'])


def test_bad_samples_are_named(samples, tmp_path) -> None:
    path = str(tmp_path / 'dump.npz')

    def broken(name: str, value) -> list[SlotDataSample]:
        sample = make_sample('c', [1, 2, 0, 0])
        if value is None:
            delattr(sample, name)
        else:
            setattr(sample, name, value)
        return [samples[0], sample]

    with pytest.raises(ValueError, match="image 'c' has no 'pred_slots'"):
        write(broken('pred_slots', None), path=path)
    with pytest.raises(ValueError, match="image 'c' lacks"):
        write(broken('pred_attn', None), path=path, attention=True)
    with pytest.raises(ValueError, match="'pred_masks', which the prediction of image 'c' lacks"):
        write(broken('pred_masks', None), path=path, mask_source='decoder')
    with pytest.raises(ValueError, match=r"'gt_objects' of image 'c' hold \[\]"):
        write(broken('gt_objects', None), path=path, properties=['shape'])
    with pytest.raises(ValueError, match="has no 'img_id'"):
        write([SlotDataSample()], path=path)
    with pytest.raises(ValueError, match=r"every image once, but 1 are named more .* 'a'"):
        write([samples[0], *samples], path=path)
    nan = InstanceData(slots=torch.full((3, 2), torch.nan), active=torch.ones(3).bool())
    with pytest.raises(ValueError, match="slots of image 'c' hold NaN"):
        write(broken('pred_slots', nan), path=path)
    wide = InstanceData(slots=torch.zeros(3, 4), active=torch.ones(3).bool())
    with pytest.raises(ValueError, match=r'slots of .* one shape, got \[\(3, 2\), \(3, 4\)\]'):
        write(broken('pred_slots', wide), path=path)
    masks = PixelData(data=torch.full((3, 4, 4), torch.nan))
    with pytest.raises(ValueError, match="masks of image 'c': soft masks hold NaN"):
        write(broken('pred_masks', masks), path=path, mask_source='decoder')
    boxes = InstanceData(shape=torch.zeros(2, 2, 2))
    with pytest.raises(ValueError, match=r"'shape' of image 'c' .* \(2, 2, 2\); expected"):
        write(broken('gt_objects', boxes), path=path, properties=['shape'])
    floats = InstanceData(shape=torch.zeros(2))
    with pytest.raises(ValueError, match="'shape' must have one size and kind in all images"):
        write(broken('gt_objects', floats), path=path, properties=['shape'])


def test_object_iou_has_a_place_for_everything() -> None:
    true = np.array([[0, 0, 3], [3, -1, 1]])
    pred = np.array([[0, 3, 3], [3, 3, 0]])
    iou = object_iou(true, pred, num_slots=5, num_objects=4)
    expected = np.zeros((5, 4))
    expected[0, 0], expected[3, 2] = 1 / 2, 2 / 3
    np.testing.assert_allclose(iou, expected)
    for num_slots, num_objects, message in (
        (3, 4, 'slot ids must be at most 2, got 0 to 3'),
        (5, 2, 'object ids must be at most 2, got 1 to 3'),
    ):
        with pytest.raises(ValueError, match=message):
            object_iou(true, pred, num_slots, num_objects)
