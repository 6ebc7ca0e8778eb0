"""Count FLOPs and parameters of a config's stages: ``tools/get_flops.py CONFIG [CHECKPOINT]``.

FLOPs are means over the first test images of the config, counted one image at a time by PyTorch's
``FlopCounterMode``: matrix products and convolutions only (attention is made of them), a
multiplication with its addition as 2, so divide by 2 for the MACs that other tools print. Norms,
activations and softmax are left out. With cached tokens the backbone does nothing.

If the slot head prunes (``--cfg-options model.slot_head.prune_threshold=0.05``; PSA,
arXiv:2406.07141, reports savings of up to 41 % on CLEVR and 62 % on Objects-Room), the decoder is
also counted with all slots. Only with a checkpoint does the number of slots it keeps mean much.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.runner import set_random_seed
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, baddbmm_flop

from mmocl.apis import SlotInferencer
from mmocl.models import SlotSetPredictor
from mmocl.registry import DATASETS

STAGES = ('tokenizer', 'backbone', 'slot_head', 'decoder')


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file; new weights if not given')
    parser.add_argument('--num-images', type=int, default=16, help='test images to average over')
    parser.add_argument('--seed', type=int, default=0, help='seed of the initial slots')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    args = parser.parse_args()

    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    if cfg.model.backbone.get('pretrained'):
        # Counts do not depend on its weights: nothing to download.
        cfg.model.backbone.pretrained = False
    set_random_seed(args.seed)
    model = SlotInferencer(cfg, args.checkpoint, show_progress=False).model
    # The counter hooks into the gradient of everything that wants one, views of parameters too.
    model.requires_grad_(False)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    num_images = min(args.num_images, len(dataset))
    if num_images < 1:
        parser.error('--num-images must be at least 1')
    images = [count_image(model, dataset[i]) for i in range(num_images)]

    rows = [
        (name, _mean([image[name] for image in images]), _num_parameters(getattr(model, name)))
        for name in STAGES
        if getattr(model, name, None) is not None
    ]
    rows.append(('total', sum(row[1] for row in rows), _num_parameters(model)))
    print(f'{"stage":<10} {"GFLOPs an image":>16} {"parameters":>12}')
    for name, flops, num_parameters in rows:
        print(f'{name:<10} {flops / 1e9:>16.4f} {num_parameters:>12,}')
    if 'dense' in images[0]:
        _print_saving(images)
        if args.checkpoint is None:
            print('No checkpoint: new weights decided which slots were kept.')
    print(f'Means over {num_images} test images; a multiplication with its addition is 2 FLOPs.')


@torch.no_grad()
def count_image(model: Any, item: dict) -> dict[str, int]:
    """Count the FLOPs of every stage, and what pruning does to the decoder if slots are pruned."""
    inputs = model.data_preprocessor({'inputs': [item['inputs']]})['inputs']
    flops = {}
    if isinstance(model, SlotSetPredictor):
        flops['backbone'], features = _count(lambda: model.extract(inputs))
        target = None  # true sets are for losses, nothing is fed to the decoder
    else:
        flops['tokenizer'], codes = _count(lambda: model.tokenize(inputs))
        flops['backbone'], features = _count(lambda: model.extract(inputs, codes))
        target = model.target(inputs if inputs.ndim == 4 else None, features, codes)
    flops['slot_head'], output = _count(lambda: model.slot_head(features))
    flops['decoder'], _ = _count(lambda: model.decode(output.slots, target, output.active))
    if output.active is not None:
        flops['dense'], _ = _count(lambda: model.decode(output.slots, target))
        flops['active'], flops['slots'] = int(output.active.sum()), output.active.numel()
    return flops


def _count(stage: Callable[[], Any]) -> tuple[int, Any]:
    # PyTorch does not count the products of our densities, which add to a tensor in place.
    mapping = {torch.ops.aten.baddbmm_: _in_place_flops}
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    # The fused kernels of attention differ by device and release, and not all are counted.
    with sdpa_kernel(SDPBackend.MATH), counter:
        result = stage()
    return counter.get_total_flops(), result


def _in_place_flops(total: Sequence[int], a: Sequence[int], b: Sequence[int], **_: Any) -> int:
    """Count ``total.baddbmm_(a, b)``, given shapes."""
    return baddbmm_flop(total, a, b)


def _print_saving(images: list[dict[str, int]]) -> None:
    pruned, dense, active, slots = (
        [image[name] for image in images] for name in ('decoder', 'dense', 'active', 'slots')
    )
    saving = 100 * (1 - _mean(pruned) / _mean(dense))
    most = 100 * max(1 - a / b for a, b in zip(pruned, dense, strict=True))
    print(f'decoder with pruning    {_mean(pruned) / 1e9:.4f} GFLOPs')
    print(f'decoder without pruning {_mean(dense) / 1e9:.4f} GFLOPs')
    print(f'saving {saving:.1f} % (up to {most:.1f} % on an image)')
    print(f'active slots {_mean(active):.2f} of {_mean(slots):g}')


def _mean(values: list[int]) -> float:
    return sum(values) / len(values)


def _num_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


if __name__ == '__main__':
    main()
