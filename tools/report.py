"""Write a page about a run: ``python tools/report.py WORK_DIR``.

One HTML file that needs no network: summary, curves, scores with their intervals, a gallery of test
images with the attention of every update of the slots, and signs of collapse. What the work dir
lacks is named there, with the command that would give it. docs/report.md says how to read it.
"""

import argparse
from pathlib import Path

from mmengine.config import DictAction
from mmengine.utils import track_iter_progress

from mmocl.visualization.report import gather, render

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dir', help='work dir of a training')
    parser.add_argument('--checkpoint', help='checkpoint file; the last one of the work dir')
    parser.add_argument(
        '--scores', help='file of tools/test.py --out; the newest one of the work dir that fits'
    )
    parser.add_argument('--num-images', type=int, default=12, help='images of the gallery')
    parser.add_argument('--out', help='page to write; report.html in the work dir')
    parser.add_argument('--device', help='device, e.g. cuda:0; the best one if not given')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    args = parser.parse_args()

    report = gather(
        args.work_dir,
        args.checkpoint,
        args.scores,
        args.num_images,
        args.device,
        args.cfg_options,
        CONFIGS,
        track_iter_progress,
    )
    text = render(report)
    out = Path(args.out or Path(args.work_dir, 'report.html'))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding='utf-8')
    size = out.stat().st_size / 1e6
    print(f'\nThe page is {out}: {len(report.images)} images, {size:.2f} MB')
    for lacks in report.missing.values():
        for one in lacks:
            print(f'Not on it: {one.what.lower()}, since {one.why}')


if __name__ == '__main__':
    main()
