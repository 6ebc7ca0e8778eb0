"""Draw the slots of a dump as points: ``python tools/plot_slots.py SLOTS.npz OUT.png``.

The dump is what ``tools/dump_slots.py`` or ``tools/infer.py`` wrote; no model is run. Points have
the colours of their slots, and axes say how much of the variance of the slots they show.
"""

import argparse
from pathlib import Path

from PIL import Image

from mmocl.evaluation.slot_dump import SlotDump
from mmocl.visualization import slot_embedding


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('slots', help='slot dump, or the folder of slots.npz')
    parser.add_argument('out', help='picture to write')
    parser.add_argument('--num-images', type=int, help='the first ones; all of them if not given')
    parser.add_argument('--size', type=int, default=800, help='side of the picture in pixels')
    args = parser.parse_args()
    for name in ('num_images', 'size'):
        if (value := getattr(args, name)) is not None and value < 1:
            raise ValueError(f'--{name.replace("_", "-")} must be at least 1, got {value}')
    dump = SlotDump.load(args.slots, attention=False)
    picture = slot_embedding(
        dump.slots[: args.num_images], dump.active[: args.num_images], size=args.size
    )
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(args.out)
    print(f'{min(args.num_images or len(dump.slots), len(dump.slots))} images are in {args.out}')


if __name__ == '__main__':
    main()
