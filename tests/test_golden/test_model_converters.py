"""Converters of released checkpoints: golden weights under released names give golden outputs."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from case import Case
from released_names import (
    BOQSA,
    BOQSA_DECODER,
    BOQSA_SLOTS,
    SLATE,
    SPOT,
    SPOT_MLP,
    rename,
)
from test_golden import CHECKS, ENTRIES, FOLDER
from timm import create_model
from torch import Tensor, nn

from mmocl.models.checkpoint import require_fit
from mmocl.models.initializers import BufferSlots
from mmocl.models.layers import PATCH_ORDERS
from mmocl.registry import MODELS

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools' / 'model_converters'))
import convert
from boqsa import boqsa
from convert_keys import Converted, Rename, convert_keys
from slate import slate
from spot import spot

SYSTEMS: dict[str, tuple[Callable, dict[str, str]]] = {
    'slate_full': (slate, SLATE),
    'boqsa_transformer_full': (boqsa, BOQSA),
    'encoder_cnn': (boqsa, {r'conv\.(\d)\.': r'encoder.conv.\1.0.'}),
    'boqsa_slot_encoder': (boqsa, BOQSA_SLOTS),
    'decoder_spatial_broadcast': (boqsa, BOQSA_DECODER),
    'decoder_spot_transformer': (spot, SPOT),
    'decoder_patch_mlp': (spot, SPOT_MLP),
}


class ReleasedCase(Case):
    """A golden case whose weights take the way of a released checkpoint into a module."""

    def __init__(self, name: str) -> None:
        if name not in ENTRIES:
            pytest.skip(f'{FOLDER} has no case {name}')
        super().__init__(FOLDER, ENTRIES[name], torch.float64)
        self.convert, names = SYSTEMS[name]
        self.state = {
            rename(key.removeprefix('w.'), names): self[key].detach() for key in self.keys('w.')
        }
        self.loaded: set[str] = set()

    def load(self, module: nn.Module, names: dict[str, str]) -> None:
        """Fill a module, a part of the model maybe, with converted weights only."""
        module.to(self.dtype)
        forget(module)
        state = self.convert(self.state).state
        # The names of a part begin behind its place in the model.
        some = next(iter(names))
        (place,) = {key.removesuffix(some) for key in state if f'.{key}'.endswith(f'.{some}')}
        mine = {key for key in state if key.startswith(place)}
        module.load_state_dict({key.removeprefix(place): state[key] for key in mine})
        self.loaded |= mine

    def compare_gradients(self, run: str, loss: Tensor) -> None:
        """Gradients of golden leaves are another test's."""


def forget(module: nn.Module) -> None:
    """Spoil all weights, and let those that a check has replaced be parameters again."""
    for part in module.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, Tensor):
                delattr(part, name)
                part.register_parameter(name, nn.Parameter(value.detach().clone()))
    for parameter in module.parameters():
        nn.init.constant_(parameter, torch.nan)


@pytest.mark.parametrize('name', SYSTEMS)
def test_golden_outputs(name) -> None:
    case = ReleasedCase(name)
    CHECKS[name](case)
    assert case.loaded == case.convert(case.state).state.keys()
    assert case.compared >= set(case.keys('out.'))


MODEL = {
    'type': 'SlotAutoencoder',
    'backbone': {'type': 'TimmBackbone', 'model_name': 'test_vit'},
    'slot_head': {
        'type': 'SlotAttention',
        'slot_dim': 32,
        'gradient': 'bilevel',
        'embed_channels': 64,
        'embed_out_channels': 64,
        'mlp_channels': 48,
        'initializer': {'type': 'LearnedSlots', 'num_slots': 3},
    },
    'decoder': {
        'type': 'TransformerDecoder',
        'grid': (4, 4),
        'num_layers': 1,
        'blocks': 'slate',
        'orders': PATCH_ORDERS,
    },
    'target': {'type': 'FeatureTarget'},
    'losses': [{'type': 'ReconstructionLoss'}],
}


def released_spot(decoder: str = 'transformer') -> dict[str, Tensor]:
    """A student of SPOT with 64 channels, slots of 32 and one block."""
    encoder = create_model('test_vit', num_classes=0).state_dict()
    state = {f'{part}.{key}': encoder[key] for part in ('encoder', 'second_encoder')
             for key in encoder if not key.startswith('fc_norm')}  # fmt: skip
    loop = 'slot_attn.slot_attention'
    blocks = 'dec.blocks.0'
    shapes: dict[str, tuple[int, ...]] = {
        'slot_attn.slots_init.weight': (3, 32),
        f'{loop}.gru.weight_ih': (96, 32),
        f'{loop}.gru.weight_hh': (96, 32),
        f'{loop}.gru.bias_ih': (96,),
        f'{loop}.gru.bias_hh': (96,),
        f'{loop}.project_q.weight': (32, 32),
        f'{loop}.project_k.weight': (32, 64),
        f'{loop}.project_v.weight': (32, 64),
        'bos_tokens': (9 if decoder == 'transformer' else 1, 1, 1, 64),
        'input_proj.0.weight': (64, 64),
    }
    norms = {
        'slot_attn.layer_norm': 64,
        f'{loop}.norm_inputs': 64,
        f'{loop}.norm_slots': 32,
        f'{loop}.norm_mlp': 32,
        'input_proj.1': 64,
    }
    layers = {
        'slot_attn.mlp.0': (64, 64),
        'slot_attn.mlp.2': (64, 64),
        f'{loop}.mlp.0': (48, 32),
        f'{loop}.mlp.2': (32, 48),
    }
    if decoder == 'transformer':
        shapes['slot_proj.0.weight'] = (64, 32)
        shapes[f'{blocks}.self_attn_mask'] = (16, 16)
        for attention in ('self_attn', 'encoder_decoder_attn'):
            norms[f'{blocks}.{attention}_layer_norm'] = 64
            for kind in 'qkvo':
                shapes[f'{blocks}.{attention}.proj_{kind}.weight'] = (64, 64)
        norms |= {f'{blocks}.ffn_layer_norm': 64, 'dec.layer_norm': 64, 'slot_proj.1': 64}
        layers |= {f'{blocks}.ffn.0': (256, 64), f'{blocks}.ffn.2': (64, 256)}
    else:
        shapes['dec.pos_embed'] = (1, 16, 32)
        widths = (32, 40, 40, 40, 65)
        layers |= {f'dec.decoder.{2 * i}': (widths[i + 1], widths[i]) for i in range(4)}
    for name, width in norms.items():
        shapes |= {f'{name}.weight': (width,), f'{name}.bias': (width,)}
    for name, shape in layers.items():
        shapes |= {f'{name}.weight': shape, f'{name}.bias': shape[:1]}
    return state | {name: torch.randn(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize('decoder', ['transformer', 'mlp'])
def test_a_whole_spot_fits(decoder) -> None:
    """Tokens keep their width up to the keys; the encoder is the backbone."""
    released = released_spot(decoder)
    converted = spot(released)
    dropped = set(converted.dropped)
    assert {key for key in released if key.startswith('second_encoder.')} < dropped
    assert ('dec.blocks.0.self_attn_mask' in dropped) == (decoder == 'transformer')
    assert ('bos_tokens' in dropped) == (decoder == 'mlp')
    mlp = {'type': 'MLPDecoder', 'grid': (4, 4), 'hidden_channels': 40}
    model = MODELS.build(MODEL if decoder == 'transformer' else MODEL | {'decoder': mlp})
    require_fit(model, converted.state, 'spot')
    model.load_state_dict(converted.state)
    weight = released['slot_attn.slot_attention.project_k.weight']
    assert torch.equal(model.slot_head.to_key.weight, weight)
    assert torch.equal(model.backbone.model.pos_embed, released['encoder.pos_embed'])
    assert model.eval().run(torch.randn(1, 3, 64, 64)).decoded.masks.shape == (1, 3, 4, 4)


def test_spot_whose_slots_are_projected_before_an_mlp() -> None:
    state = released_spot('mlp') | {'slot_proj.0.weight': torch.zeros(64, 32)}
    with pytest.raises(ValueError, match='slot_proj, a linear map without bias'):
        spot(state)


def test_older_files_of_spot_call_the_decoder_otherwise() -> None:
    state = released_spot()
    old = {re.sub('^dec', 'tf_dec', key): value for key, value in state.items()}
    assert spot(old).state.keys() == spot(state).state.keys()


def test_boqsa_that_starts_from_a_mean() -> None:
    state = {
        'post_cluster': torch.randn(1, 3, 4),
        'slot_attn.slots_init.weight': torch.randn(3, 4),
        'slot_attn.pos_emb.grid': torch.zeros(1, 2, 2, 4),
    }
    converted = boqsa(state)
    slots = BufferSlots(3, 4)
    slots.load_state_dict(
        {key.removeprefix('slot_head.initializer.'): v for key, v in converted.state.items()}
    )
    assert torch.equal(slots.slots, state['post_cluster'])
    assert converted.dropped.keys() == state.keys() - {'post_cluster'}


@pytest.mark.parametrize('name', ['slate_full', 'boqsa_transformer_full'])
def test_unknown_and_missing_keys_are_named(name) -> None:
    case = ReleasedCase(name)
    more = {'ema.decay': torch.zeros(1), 'tf_dec.blocks.0.gate': torch.zeros(1)}
    message = r'^2 of \d+ keys of the checkpoint are unknown: ema.decay, tf_dec.blocks.0.gate\.$'
    with pytest.raises(ValueError, match=message):
        case.convert(case.state | more)
    del case.state['slot_proj.weight']
    with pytest.raises(RuntimeError, match=r'Missing key.*"decoder\.memory\.weight"'):
        CHECKS[name](case)


def test_two_keys_for_one_name() -> None:
    rules = [Rename('a|b', 'c')]
    with pytest.raises(ValueError, match="Both 'a' and 'b' would become 'c'"):
        convert_keys({'a': torch.zeros(1), 'b': torch.zeros(1)}, rules)


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> None:
    monkeypatch.setattr(sys, 'argv', ['convert.py', *args])
    convert.main()


def test_the_tool_says_what_it_did(tmp_path, monkeypatch, capsys) -> None:
    """From a file of PyTorch Lightning: settings, and a wrapper's prefix on every name."""
    case = ReleasedCase('boqsa_transformer_full')
    state = case.state | {
        'slot_attn.pos_emb.grid': torch.zeros(1, 16, 16, 4),
        **{f'tf_dec.blocks.{i}.self_attn_mask': torch.ones(16, 16) for i in range(2)},
    }
    wrapped = {f'model.{key}': value for key, value in state.items()}
    torch.save({'epoch': 3, 'state_dict': wrapped, 'settings': Converted({}, {})}, tmp_path / 'a')
    out = tmp_path / 'new' / 'out.pth'
    args = ('boqsa', str(tmp_path / 'a'), str(out))
    with pytest.raises(ValueError, match=r'holds objects other than tensors.*--trust'):
        run(monkeypatch, *args)
    run(monkeypatch, *args, '--trust')
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "Took the wrapper 'model.' off all names.",
        'Dropped 1: coordinates, which mmocl makes at every call (slot_attn.pos_emb.grid).',
        'Dropped 2: the causal mask of self-attention, which mmocl does not store '
        '(tf_dec.blocks.0.self_attn_mask, tf_dec.blocks.1.self_attn_mask).',
        f'Mapped {len(case.state)} of {len(state)} keys, written to {out}.',
    ]
    written = torch.load(out, weights_only=True)['state_dict']
    assert written.keys() == boqsa(case.state).state.keys()


def test_wrappers() -> None:
    weights = {'a.b': torch.zeros(1)}
    wrapped = {f'module.{key}': value for key, value in weights.items()}
    assert convert.unwrap(weights) == (weights, '')
    assert convert.unwrap({'model': wrapped, 'epoch': 1}) == (weights, 'module.')
    with pytest.raises(
        ValueError, match=r"neither 'state_dict' nor 'model'; got \['epoch', 'net'\]\."
    ):
        convert.unwrap({'net': weights, 'epoch': 1})
    with pytest.raises(ValueError, match='holds weights by name'):
        convert.unwrap([1])


def test_no_file(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match='No checkpoint at'):
        convert.load(str(tmp_path / 'nothing.pt'))
