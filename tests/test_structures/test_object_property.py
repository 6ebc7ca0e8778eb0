import pytest
import torch

from mmocl.structures import ObjectProperty


def test_coordinates_and_values_are_scaled_and_come_back() -> None:
    position = ObjectProperty('position', 2, 'coordinate', low=-3.0, high=3.0)
    values = torch.tensor([[-3.0, 0.0], [1.5, 3.0]])
    numbers = position.encode(values)
    torch.testing.assert_close(numbers, torch.tensor([[-1.0, 0.0], [0.5, 1.0]]))
    torch.testing.assert_close(position.decode(numbers), values)
    scale = ObjectProperty('scale', 1, 'value', low=0.5, high=1.0)
    values = torch.tensor([0.5, 0.75])
    torch.testing.assert_close(scale.encode(values), torch.tensor([[0.0], [0.5]]))
    torch.testing.assert_close(scale.encode(values[:, None]), scale.encode(values))
    torch.testing.assert_close(scale.decode(scale.encode(values)), values)


def test_labels_become_one_hot_and_come_back() -> None:
    shape = ObjectProperty('shape', 3, 'category', first=1)
    labels = torch.tensor([3, 1])
    assert shape.encode(labels).tolist() == [[0, 0, 1], [1, 0, 0]]
    torch.testing.assert_close(shape.decode(shape.encode(labels)), labels)
    assert shape.encode(labels[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    ('kind', 'low', 'total'), [('coordinate', -1, None), ('value', 0, None), ('category', 0, 1)]
)
def test_activations_have_the_range_of_the_targets(kind, low, total) -> None:
    numbers = ObjectProperty('x', 3, kind).activate(10 * torch.randn(50, 4, 3))
    assert low <= numbers.min() < low + 0.1
    assert 0.9 < numbers.max() <= 1
    if total is not None:
        torch.testing.assert_close(numbers.sum(2), torch.ones(50, 4))


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ({'name': 'x', 'size': 1}, r"needs \['name', 'size', 'kind'\]"),
        ({'name': 'x', 'size': 1, 'kind': 'value', 'scale': 3.0}, "'scale': 3.0"),
        ({'name': 'x', 'size': 1, 'kind': 'label'}, "kind of property 'x' .* got label"),
        ({'name': 'x', 'size': 0, 'kind': 'value'}, "size of property 'x' .* got 0"),
        ({'name': 'x', 'size': 1, 'kind': 'value', 'low': 1.0}, 'needs low < high, got 1.0 and'),
    ],
)
def test_bad_configs(config, message) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectProperty.from_config(config)


@pytest.mark.parametrize(
    ('kind', 'values', 'message'),
    [
        ('value', torch.zeros(4, 3), r'size 2, but .* shape \(4, 3\)'),
        ('coordinate', torch.zeros(4), r'size 2, but .* shape \(4,\)'),
        ('category', torch.zeros(4, 2), r'one label an object, .* shape \(4, 2\)'),
        ('category', torch.tensor([0, 1, 2]), r'must be in 0\.\.1 .*got \[0, 1, 2\]'),
        ('category', torch.tensor([-1]), r'got \[-1\]'),
    ],
)
def test_data_that_do_not_fit(kind, values, message) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectProperty('x', 2, kind).encode(values)
