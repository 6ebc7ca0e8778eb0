"""Draw the slots of images: ``python tools/infer.py IMAGE CONFIG CHECKPOINT``."""

import argparse
from pathlib import Path

from mmengine.config import Config, DictAction

from mmocl.apis import SlotInferencer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('image', help='image file, or a folder of them')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out-dir', default='outputs', help='folder for the pictures')
    parser.add_argument('--device', help='device, e.g. cuda:0; the best one if not given')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    args = parser.parse_args()

    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    inferencer = SlotInferencer(cfg, args.checkpoint, args.device)
    inferencer(args.image, out_dir=args.out_dir)
    print(f'Pictures (input, reconstruction if any, masks, attention) are in {Path(args.out_dir)}')


if __name__ == '__main__':
    main()
