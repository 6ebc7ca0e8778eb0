"""Which class a name means, in runs of this and of other libraries."""

from itertools import count

import pytest
from mmengine.registry import MODELS as ROOT
from mmengine.registry import DefaultScope, Registry
from torch import nn

from mmocl.models.slot_heads import SlotAttention
from mmocl.registry import METRICS, MODELS

NUMBERS = count()
HEAD = dict(type='SlotAttention', in_channels=8, initializer=dict(type='LearnedSlots', num_slots=2))


@pytest.fixture
def scope(request: pytest.FixtureRequest) -> str:
    """The default scope that a test asks for."""
    DefaultScope.get_instance(f'registry-{next(NUMBERS)}', scope_name=request.param)
    return request.param


@pytest.fixture
def mine() -> Registry:
    """Registry of a user's library, which has a head with a name of ours and a part of its own."""
    registry = ROOT.children.get('mylib') or Registry('model', parent=ROOT, scope='mylib')

    class SlotAttention2(SlotAttention):
        pass

    registry.register_module('SlotAttention', module=SlotAttention2, force=True)
    registry.register_module('MyHead', module=SlotAttention2, force=True)
    return registry


@pytest.mark.parametrize('scope', ['mmocl', 'mmseg', 'mmengine'], indirect=True)
def test_parts_are_found_by_bare_names(scope: str) -> None:
    assert type(MODELS.build(HEAD)) is SlotAttention
    assert type(ROOT.build({**HEAD, 'type': 'mmocl.SlotAttention'})) is SlotAttention
    assert DefaultScope.get_current_instance().scope_name == scope


@pytest.mark.parametrize('scope', ['mylib'], indirect=True)
def test_a_users_own_class_wins_in_his_scope(mine: Registry, scope: str) -> None:
    own = mine.module_dict['MyHead']
    assert MODELS.find('SlotAttention') is own
    assert type(MODELS.build(HEAD)) is own
    assert type(MODELS.build({**HEAD, 'type': 'mmocl.SlotAttention'})) is SlotAttention


@pytest.mark.parametrize('scope', ['mylib'], indirect=True)
def test_widths_are_inferred_for_a_users_part(mine: Registry, scope: str) -> None:
    model = MODELS.build(
        dict(
            type='mmocl.SlotAutoencoder',
            backbone=dict(type='ConvEncoder', channels=6),
            slot_head=dict(type='MyHead', initializer=dict(type='LearnedSlots', num_slots=2)),
            decoder=dict(type='SpatialBroadcastDecoder'),
            target=dict(type='PixelTarget'),
            losses=[dict(type='ReconstructionLoss')],
        )
    )
    assert model.slot_head.in_channels == 6


@pytest.mark.parametrize('scope', ['mmseg'], indirect=True)
def test_a_prefix_counts_beside_a_scope(mine: Registry, scope: str) -> None:
    config = {**HEAD, 'type': 'mylib.MyHead', '_scope_': 'mmseg'}
    assert type(MODELS.build(config)) is mine.module_dict['MyHead']


class Wrapper(nn.Module):
    """A user's backbone, named by its package, that builds a part by its bare name."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = ROOT.build(dict(type='FCNHead', in_channels=4, channels=4, num_classes=3))


@pytest.mark.parametrize('scope', ['mmseg'], indirect=True)
def test_the_name_of_a_class_with_its_package_is_no_scope(
    scope: str, capfd: pytest.CaptureFixture
) -> None:
    MODELS.build(dict(type=f'{__name__}.Wrapper'))
    MODELS.build(dict(type='torch.nn.Identity'))
    assert 'Failed to search registry' not in capfd.readouterr().err


@pytest.mark.parametrize('scope', ['mmocl'], indirect=True)
@pytest.mark.parametrize(
    ('registry', 'config'),
    [
        (MODELS, dict(type='mmseg.ResNetV1c', depth=18)),
        (MODELS, dict(type='ResNetV1c', _scope_='mmseg', depth=18)),
        (METRICS, dict(type='mmseg.IoUMetric')),
    ],
)
def test_a_missing_mmseg_says_how_to_install_it(registry, config, scope, monkeypatch) -> None:
    monkeypatch.setitem(__import__('sys').modules, 'mmseg', None)
    message = r"needs mmseg, which could not be imported .*: pip install 'mmocl\[segmentation\]'"
    with pytest.raises(ImportError, match=message):
        registry.build(config)
