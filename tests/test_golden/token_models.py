"""What transformer decoders, tokenizer and the systems of both have to reproduce, case by case."""

from collections.abc import Callable

import torch
from case import Case
from core import NAMES, both
from pixels import load
from torch import Tensor, nn

from mmocl.models import SlotAutoencoder
from mmocl.models.backbones import ConvEncoder, TokenBackbone
from mmocl.models.decoders import TransformerDecoder
from mmocl.models.initializers import GaussianSlots, LearnedSlots
from mmocl.models.layers import PATCH_ORDERS, Attention, DecoderBlock, patch_order
from mmocl.models.losses import TokenCrossEntropyLoss
from mmocl.models.slot_heads import SlotAttention
from mmocl.models.targets import TokenTarget
from mmocl.models.tokenizers import DiscreteVAE
from mmocl.structures import Decoded, Features, ModelOutput, SlotOutput, SlotState, Target

ATTENTION = {'to_query': 'to_q', 'to_key': 'to_k', 'to_value': 'to_v', 'to_out': 'to_o'}


def block_names(mine: str, theirs: str, split: bool = True) -> dict[str, str]:
    """Names of a block's weights; those of its attentions only if they are ``split``."""
    names = {**both(f'{mine}.ffn.0', f'{theirs}.ffn.0'), **both(f'{mine}.ffn.2', f'{theirs}.ffn.2')}
    for i, norm in enumerate(('norm_self', 'norm_cross', 'norm_ffn'), start=1):
        names |= both(f'{mine}.{norm}', f'{theirs}.norm{i}')
    for attention in ('self_attn', 'cross_attn') if split else ():
        for a, b in ATTENTION.items():
            names[f'{mine}.{attention}.{a}.weight'] = f'{theirs}.{attention}.{b}.weight'
    return names


def put(module: nn.Module, name: str, value: Tensor) -> None:
    """Let a weight be a part of a golden leaf, which so gets the gradient."""
    owner, _, name = name.rpartition('.')
    owner_module = module.get_submodule(owner)
    delattr(owner_module, name)
    setattr(owner_module, name, value)


def put_stacked(case: Case, attention: Attention, theirs: str) -> None:
    """Weights in the layout of torch's MultiheadAttention: three maps in one."""
    for kind in ('weight', 'bias'):
        parts = case[f'w.{theirs}.in_proj_{kind}'].chunk(3)
        for layer, part in zip(('to_query', 'to_key', 'to_value'), parts, strict=True):
            put(attention, f'{layer}.{kind}', part)
        put(attention, f'to_out.{kind}', case[f'w.{theirs}.out_proj.{kind}'])


def decoder_patch_autoregressive(case: Case) -> None:
    """The decoder of DINOSAUR; its embedding has one vector in front."""
    slots, targets = case['in.slots'], case['in.targets']
    num_layers = case.hyper['num_layers']
    decoder = TransformerDecoder(
        slots.shape[2],
        targets.shape[2],
        (1, targets.shape[1]),
        num_layers=num_layers,
        num_heads=case.hyper['num_heads'],
    ).to(case.dtype)
    put(decoder, 'embedding.bos', case['w.bos_token'])
    put(decoder, 'embedding.project.weight', case['w.input_proj.weight'])
    put(decoder, 'memory.0.weight', case['w.slot_proj.weight'])
    names = both('embedding.norm', 'input_norm') | both('memory.1', 'slot_norm')
    for i in range(num_layers):
        names |= block_names(f'blocks.{i}', f'layers.{i}', split=False)
        block = decoder.blocks[i]
        assert isinstance(block, DecoderBlock)
        put_stacked(case, block.self_attn, f'layers.{i}.self_attn')
        put_stacked(case, block.cross_attn, f'layers.{i}.cross_attn')
    case.load(decoder, names)
    decoded = decoder(slots, Target(targets.detach()))
    case.compare('out.reconstruction', decoded.recon)
    case.compare('out.masks', decoded.masks.flatten(2))
    case.compare_gradients('', decoded.recon.square().sum())


def decoder_spot_transformer(case: Case) -> None:
    """The decoder of SPOT in its nine orders, one of them or their mean."""
    slots, targets, hyper = case['in.slots'], case['in.targets'], case.hyper
    grid = (hyper['grid'], hyper['grid'])
    want = torch.from_numpy(case.arrays['in.permutations'])
    assert len(want) == hyper['num_permutations'] == len(PATCH_ORDERS)
    assert torch.equal(torch.stack([patch_order(name, grid) for name in PATCH_ORDERS]), want)
    decoder = TransformerDecoder(
        slots.shape[2],
        targets.shape[2],
        grid,
        num_layers=hyper['num_layers'],
        num_heads=hyper['num_heads'],
        blocks='slate',
        orders=PATCH_ORDERS,
    ).eval()
    names = {
        'embedding.project.weight': 'input_proj.weight',
        'memory.0.weight': 'slot_proj.weight',
        **both('embedding.norm', 'input_norm'),
        **both('memory.1', 'slot_norm'),
        **both('norm', 'final_norm'),
    }
    for i in range(hyper['num_layers']):
        names |= block_names(f'blocks.{i}', f'layers.{i}')
    # There one dimension more.
    put(decoder, 'embedding.bos', case['w.bos_tokens'][:, 0])
    case.load(decoder, names)
    for run, average in {'standard': False, 'all': True}.items():
        decoder.average_orders = average
        decoded = decoder(slots, Target(targets))
        case.compare(f'out.{run}.reconstruction', decoded.recon)
        case.compare(f'out.{run}.masks', decoded.masks.flatten(2).mT)
        case.compare_gradients(run, decoded.recon.square().sum())
    memory = [block.look(decoder.memory(slots)) for block in decoder.blocks]
    each = [
        decoder._decode(memory, targets, decoder.grid, None, torch.tensor([i]))[0]
        for i in range(len(PATCH_ORDERS))
    ]
    case.compare('out.each_permutation.reconstruction', torch.stack(each))


def slate_decoder(case: Case, slot_dim: int, grid: tuple[int, int], vocab: int) -> tuple:
    """SLATE's decoder, and the names of its weights."""
    num_blocks = case.hyper['num_blocks']
    decoder = TransformerDecoder(
        slot_dim,
        vocab,
        grid,
        vocab_size=vocab,
        channels=case.hyper['d_model'],
        num_layers=num_blocks,
        num_heads=case.hyper['num_heads'],
        blocks='slate',
    )
    names = {
        'embedding.table.weight': 'token_embedding',
        'embedding.position': 'pos_embed',
        'memory.weight': 'slot_proj.weight',
        'project.weight': 'out_proj.weight',
        **both('norm', 'final_norm'),
    }
    for i in range(num_blocks):
        names |= block_names(f'blocks.{i}', f'layers.{i}')
    return decoder, names


def cross_entropy(decoded: Decoded, target: Target, slots: Tensor) -> Tensor:
    state = SlotState(slots)
    head = SlotOutput(slots, slots.new_zeros(*slots.shape[:2], 1), state, state)
    features = Features(slots, (1, slots.shape[1]))
    return TokenCrossEntropyLoss()(ModelOutput(features, head, target, decoded))


def transformer_decoder_slate(case: Case) -> None:
    """The decoder of SLATE on given tokens."""
    slots, ids = case['in.slots'], case['in.tokens']
    decoder, names = slate_decoder(case, slots.shape[2], (1, ids.shape[1]), case.hyper['vocab'])
    case.load(decoder, names)
    normed: list[Tensor] = []
    decoder.norm.register_forward_hook(lambda module, args, out: normed.append(out))
    decoded = decoder(slots, Target(ids))
    case.compare('out.embedded_input', decoder.embedding(ids))
    case.compare('out.decoder_output', normed[0])
    case.compare('out.logits', decoded.recon)
    loss = cross_entropy(decoded, Target(ids), slots)
    case.compare('out.cross_entropy', loss)
    case.compare_gradients('', loss)


def dvae_names(part: str, sequence: nn.Sequential) -> dict[str, str]:
    """Weights of a dVAE: there a block's norm has no name of its own."""
    names = {}
    for i, layer in enumerate(sequence):
        if isinstance(layer, nn.Sequential):
            names[f'tokenizer.{part}.{i}.0.weight'] = f'dvae_{part}.{i}.conv.weight'
            names |= both(f'tokenizer.{part}.{i}.1', f'dvae_{part}.{i}')
        elif isinstance(layer, nn.Conv2d):
            names |= both(f'tokenizer.{part}.{i}', f'dvae_{part}.{i}')
    return names


HEAD = {f'slot_head.{mine}': f'slot.{theirs}' for mine, theirs in NAMES.items()}
HEAD |= both('slot_head.update.norm', 'slot.mlp_norm')


def full_system(case: Case, backbone: nn.Module, head: SlotAttention, names: dict) -> None:
    """One training step of SLATE or BO-QSA's transformer, with the random draws of the case."""
    image, hyper = case['in.image'], case.hyper
    grid = (hyper['height'] // DiscreteVAE.stride, hyper['width'] // DiscreteVAE.stride)
    decoder, decoder_names = slate_decoder(case, head.slot_dim, grid, hyper['vocab'])
    tokenizer = DiscreteVAE(
        hyper['vocab'],
        hyper['dvae_kernel'],
        len(case['w.dvae_encoder.0.weight']),
        temperature=hyper['tau'],
    )
    model = SlotAutoencoder(
        backbone,
        head,
        decoder,
        TokenTarget(hyper['vocab']),
        [TokenCrossEntropyLoss()],
        tokenizer,
    )
    names = HEAD | names | {f'decoder.{mine}': theirs for mine, theirs in decoder_names.items()}
    names |= dvae_names('encoder', tokenizer.encoder) | dvae_names('decoder', tokenizer.decoder)
    load(case, model, names)

    noise = -torch.stack([case['in.exponential_1'], case['in.exponential_2']]).log()
    codes = tokenizer(image, noise)
    log_probs = tokenizer.encode(image)
    case.compare('out.log_probs', log_probs)
    case.compare('out.soft_tokens', tokenizer.relax(log_probs, noise[0]))
    hard = torch.from_numpy(case.arrays['out.hard_tokens'])
    assert torch.equal(codes.ids.unflatten(1, codes.grid), hard.to(codes.ids.dtype))
    case.compared.add('out.hard_tokens')
    case.compare('out.reconstruction_from_soft', codes.recon)
    case.compare('out.reconstruction_clamped', codes.recon.clamp(0, 1))
    from_ids = tokenizer.decode_ids(codes.ids.unflatten(1, codes.grid))
    case.compare('out.reconstruction_from_hard', from_ids)
    case.compare('out.mse', codes.losses['tokenizer'])

    features = model.extract(image, codes)
    # Queries have none.
    draws = [case[key] for key in case.keys('in.slot_noise')]
    slots = model.slot_head(features, None, None, *draws)
    target = model.target(image, features, codes)
    decoded = model.decode(slots.slots, target)
    case.compare('out.slots', slots.slots)
    case.compare('out.token_logits', decoded.recon)
    if 'out.attn_image' in case:
        case.compare('out.slot_attn', slots.attn)
        case.compare('out.attn_image', slots.attn.unflatten(2, features.grid)[:, :, None])
        case.compare('out.teacher_forced_image', model.to_images(decoded).clamp(0, 1))
    else:
        case.compare('out.slot_attn', slots.attn.mT)
    loss = cross_entropy(decoded, target, slots.slots)
    case.compare('out.cross_entropy', loss)
    case.compare_gradients('', codes.losses['tokenizer'] + loss)


def slate_full(case: Case) -> None:
    """SLATE: slots look at embedded tokens."""
    hyper = case.hyper
    width = hyper['d_model']
    head = SlotAttention(
        GaussianSlots(hyper['num_slots'], hyper['slot_dim']),
        width,
        hyper['slot_dim'],
        hyper['iterations'],
        embed_channels=width,
        num_heads=hyper['slot_heads'],
        mlp_channels=hyper['slot_mlp'],
    )
    names = {
        'slot_head.initializer.mean': 'slot.init_mu',
        'slot_head.initializer.log_scale': 'slot.init_log_sigma',
        **both('slot_head.embed.0', 'slot.front_norm'),
        **both('slot_head.embed.1', 'slot.front.0'),
        **both('slot_head.embed.3', 'slot.front.2'),
    }
    full_system(case, TokenBackbone(width), head, names)


def boqsa_transformer_full(case: Case) -> None:
    """BO-QSA with a transformer: slots look at convolutions, from learned queries."""
    hyper = case.hyper
    backbone = ConvEncoder(len(case['w.backbone.0.0.bias']), (1, 1))
    head = SlotAttention(
        LearnedSlots(hyper['num_slots'], hyper['slot_dim']),
        backbone.out_channels,
        hyper['slot_dim'],
        hyper['iterations'],
        'bilevel',
        embed_channels=len(case['w.slot.front.1.bias']),
        mlp_channels=hyper['slot_mlp'],
        eps=1.0,
        eps_mode='sum',
    )
    put(head, 'initializer.queries', case['w.slot.queries'][None])
    names = {
        **both('backbone.layers.0', 'backbone.0.0'),
        **both('backbone.layers.2', 'backbone.1.0'),
        **both('backbone.position.project', 'slot.front_pos_embed'),
        **both('slot_head.embed.0', 'slot.front.0'),
        **both('slot_head.embed.1', 'slot.front.1'),
        **both('slot_head.embed.3', 'slot.front.3'),
    }
    full_system(case, backbone, head, names)


TOKEN_MODELS: dict[str, Callable[[Case], None]] = {
    'boqsa_transformer_full': boqsa_transformer_full,
    'decoder_patch_autoregressive': decoder_patch_autoregressive,
    'decoder_spot_transformer': decoder_spot_transformer,
    'slate_full': slate_full,
    'transformer_decoder_slate': transformer_decoder_slate,
}
