"""Weights of a timm ViT for mmsegmentation's VisionTransformer.

mmsegmentation's ViT has no LayerScale; as it only scales what a linear layer gives, it is
multiplied into the weights of that layer, exactly.
"""

import argparse
import re
from pathlib import Path

import torch
from timm.models import load_state_dict
from torch import Tensor

# Where a timm parameter goes.
RULES = {
    r'cls_token': 'cls_token',
    r'pos_embed': 'pos_embed',
    r'patch_embed\.proj\.(\w+)': r'patch_embed.projection.\1',
    r'blocks\.(\d+)\.norm([12])\.(\w+)': r'layers.\1.ln\2.\3',
    r'blocks\.(\d+)\.attn\.qkv\.(\w+)': r'layers.\1.attn.attn.in_proj_\2',
    r'blocks\.(\d+)\.attn\.proj\.(\w+)': r'layers.\1.attn.attn.out_proj.\2',
    r'blocks\.(\d+)\.mlp\.fc1\.(\w+)': r'layers.\1.ffn.layers.0.0.\2',
    r'blocks\.(\d+)\.mlp\.fc2\.(\w+)': r'layers.\1.ffn.layers.1.\2',
    r'norm\.(\w+)': r'ln1.\1',
}
# The layer that a LayerScale follows.
SCALED = {'ls1': 'attn.proj', 'ls2': 'mlp.fc2'}


def convert(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the parameters of a timm ViT, LayerScale multiplied in, in single precision.

    Args:
        weights: State dict of a timm ``VisionTransformer`` without a classifier.

    Returns:
        State dict of mmsegmentation's ``VisionTransformer(patch_bias=True, final_norm=True)``.

    Raises:
        ValueError: If it has parameters that mmsegmentation's ViT has no place for.
    """
    weights = {key: value.float() for key, value in weights.items()}
    for key in [key for key in weights if key.endswith('.gamma')]:
        gamma = weights.pop(key)
        block, scale = key.removesuffix('.gamma').rsplit('.', 1)
        layer = f'{block}.{SCALED[scale]}'
        weights[f'{layer}.weight'] = gamma[:, None] * weights[f'{layer}.weight']
        weights[f'{layer}.bias'] = gamma * weights[f'{layer}.bias']
    converted, unknown = {}, []
    for key, value in weights.items():
        rule = next((rule for rule in RULES if re.fullmatch(rule, key)), None)
        if rule is None:
            unknown.append(key)
        else:
            converted[re.sub(rule, RULES[rule], key)] = value
    if unknown:
        raise ValueError(
            f"mmsegmentation's VisionTransformer has no place for {len(unknown)} parameters, such "
            f'as {unknown[:3]}; expected a plain timm ViT without a classifier and registers.'
        )
    return converted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('weights', help='weights of a timm ViT, .pth or .safetensors')
    parser.add_argument('out', help='file for the converted weights, .pth')
    args = parser.parse_args()
    if not Path(args.weights).is_file():
        raise FileNotFoundError(f'No weights at {args.weights!r}.')
    converted = convert(load_state_dict(args.weights, weights_only=True))
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    torch.save(converted, args.out)
    print(f'{len(converted)} parameters are in {args.out}')


if __name__ == '__main__':
    main()
