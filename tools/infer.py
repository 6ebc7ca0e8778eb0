"""Find the slots of pictures and write them as pictures and data.

``python tools/infer.py INPUT CONFIG CHECKPOINT``, or ``python tools/infer.py INPUT FILE`` with a
published file. The input is an image, a folder (its images and those of subfolders), a quoted
pattern such as ``'photos/**/*.jpg'``, or a video. In ``--out-dir`` it writes

- ``overlays/<name>.jpg``: the whole picture in its own size with the masks over it; of a video
  ``overlays/<name>.mp4``;
- ``masks/<name>.png``: an indexed PNG, whose index is that of the slot (255: not shown);
- ``slots.json``: one COCO JSON file, a mask (RLE) of category ``slot`` for every slot of an image;
- ``slots.npz``: ``names`` of the pictures, ``slots`` (N, K, D), ``weights`` and ``active`` (N, K);
- ``failed.json``: files that could not be read, and why, if there are any.

``--save`` chooses among masks and both files of slots; frames of a video are in ``slots.npz`` only,
unless it names others. Pictures that share a folder and differ in their suffix only keep it in
their name, as in ``a.jpg.png``. Results are written as they come, so that folders may be large. The
files of slots of an earlier call are replaced, and so are pictures of the same name; other pictures
stay, so take a new folder for other pictures. The exit code is 1 if a file could not be read; all
others are done then.
"""

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mmengine.config import DictAction
from provenance import current_commit, shell_line, versions
from rich.progress import track
from slot_files import CocoFile, write_png
from slot_rows import SlotRows

from mmocl.apis import SlotInferencer, resolve_model, slot_map, slot_overlay
from mmocl.apis.output_files import output_names, write_overlay
from mmocl.apis.overlay_video import OverlayVideo
from mmocl.apis.picture_pipeline import FITS, PicturePipeline
from mmocl.apis.pictures import Picture, Source, find_sources, frame_rate
from mmocl.apis.slot_arrays import mask_source, slot_weights
from mmocl.datasets.transforms import MAX_PIXELS
from mmocl.structures import SlotDataSample

KINDS = ('png', 'json', 'npz')


def main() -> int:
    args = parse_args()
    sources = find_sources(args.input)
    out = Path(args.out_dir)
    require_elsewhere(Path(args.input), sources, out)
    cfg, weights = resolve_model(args.model, args.checkpoint)
    if weights is None:
        raise ValueError(f'{args.model} brings no weights; give a checkpoint behind it')
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    out.mkdir(parents=True, exist_ok=True)
    inferencer = SlotInferencer(cfg, weights, args.device, show_progress=False)
    fit = PicturePipeline(inferencer.cfg, inferencer.model, args.fit).fit
    found = inferencer.stream(
        sources,
        batch_size=args.batch_size,
        num_slots=args.num_slots,
        num_iters=args.num_iters,
        fit=fit,
        seed=args.seed,
        max_pixels=args.max_pixels or None,
    )
    num_pictures = sum(source.num_pictures for source in sources)
    with Writer(out, sources, args.save, args.masks, {**info_of(args), 'fit': fit}) as writer:
        for picture, sample in track(found, description='Inference', total=num_pictures):
            writer.add(picture, sample)
        writer.finish()
    done = f'{writer.num_pictures} pictures (fit {fit}, {writer.source} masks) are in {out}'
    print(f'{done}: {", ".join(sorted(path.name for path in out.iterdir()))}')
    for failure in writer.failed:
        path, reason = failure['path'], failure['reason']
        told = reason if path in reason else f'{path}: {reason}'
        print(f'could not be read: {told}', file=sys.stderr)
    if writer.failed:
        total = writer.num_pictures + len(writer.failed)
        print(f'{len(writer.failed)} of {total} could not be read', file=sys.stderr)
    return 1 if writer.failed else 0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('input', help='image, folder, quoted pattern or video')
    parser.add_argument(
        'model', help='config file, name in the model index, or published file with its config'
    )
    parser.add_argument(
        'checkpoint', nargs='?', help='checkpoint or published file, if the model brings no weights'
    )
    parser.add_argument('--out-dir', default='outputs', help='folder to write')
    parser.add_argument(
        '--save',
        nargs='*',
        choices=KINDS,
        help='what to write beside the overlays; all of it if not given',
    )
    parser.add_argument('--num-slots', type=int, help='another number of slots')
    parser.add_argument('--num-iters', type=int, help='another number of updates of the slots')
    parser.add_argument(
        '--fit',
        choices=FITS,
        help='show whole pictures (aspect), or what the test pipeline of the config cuts out of '
        'them (config); whole ones if not given and if the model can look at any size',
    )
    parser.add_argument(
        '--masks',
        choices=['decoder', 'attention'],
        help="which masks; those of the decoder if it gives any, else the slot head's attention",
    )
    parser.add_argument('--batch-size', type=int, default=1, help='most pictures at a time')
    parser.add_argument('--device', help='device, e.g. cuda:0; the best one if not given')
    parser.add_argument('--seed', type=int, default=0, help='of slots that start at random')
    parser.add_argument(
        '--max-pixels', type=int, default=MAX_PIXELS, help='most pixels of a file; 0: any number'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    return parser.parse_args()


def require_elsewhere(given: Path, sources: list[Source], out: Path) -> None:
    """Refuse to write among the pictures that are read, where results would be read next time.

    Raises:
        ValueError: If the output folder lies in that of the pictures, or pictures lie in it.
    """
    folder = out.resolve()
    inside = given.is_dir() and folder.is_relative_to(given.resolve())
    if inside or any(
        source.path is not None and source.path.resolve().is_relative_to(folder)
        for source in sources
    ):
        raise ValueError(
            f'--out-dir {out} and the pictures, {given}, lie in each other, so that results would '
            'be taken for pictures; expected a folder elsewhere'
        )


def info_of(args: argparse.Namespace) -> dict[str, Any]:
    """What made the results."""
    keys = ('model', 'checkpoint', 'num_slots', 'num_iters', 'seed')
    return {
        'description': 'Slots of an mmocl model',
        **{key: getattr(args, key) for key in keys},
        'options': args.cfg_options or {},
        'command': shell_line(),
        'commit': current_commit(),
        'versions': versions('torch', 'timm'),
    }


class Writer:
    """Write the results of one picture after the other.

    Args:
        out: Folder to write.
        sources: All pictures.
        save: Kinds of results; None: all of them, for frames only the slots.
        masks: Which masks.
        info: What made the results.
    """

    def __init__(
        self,
        out: Path,
        sources: list[Source],
        save: list[str] | None,
        masks: str | None,
        info: dict[str, Any],
    ) -> None:
        names = [source.name for source in sources]
        self.out = out
        self.save = save
        self.masks = masks
        self.info = info
        self.outputs = dict(zip(names, output_names(names), strict=True))
        self.videos = {source.path: source.name for source in sources if source.is_video}
        self.failed: list[dict[str, str]] = []
        self.num_pictures = 0
        self.source = masks or 'no'
        self._video: OverlayVideo | None = None
        self._stack = ExitStack()

    def __enter__(self) -> 'Writer':
        self._coco = self._stack.enter_context(CocoFile(self.out / 'slots.json'))
        self._rows = self._stack.enter_context(SlotRows(self.out / 'slots.npz'))
        self._stack.callback(self._end_video)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add(self, picture: Picture, sample: SlotDataSample | None) -> None:
        """Write all of a picture."""
        if sample is None or picture.image is None:
            self.failed.append({'path': str(picture.path), 'reason': str(picture.error)})
            return
        self.num_pictures += 1
        self.source = mask_source(sample, self.masks)
        ids = slot_map(sample, self.source)
        is_frame = picture.path in self.videos
        kinds = self.save if self.save is not None else (('npz',) if is_frame else KINDS)
        drawn = slot_overlay(picture.image, ids)
        name = picture.name if is_frame else self.outputs[picture.name]
        if is_frame:
            self._add_frame(picture.path, drawn)
        else:
            write_overlay(self.out / 'overlays' / name, drawn)
        if 'png' in kinds:
            write_png(self.out / 'masks' / f'{name}.png', ids)
        if 'json' in kinds:
            self._coco.add(picture.name, ids)
        if 'npz' in kinds:
            slots = {
                'slots': sample.pred_slots.slots,
                'weights': slot_weights(sample),
                'active': sample.pred_slots.active,
            }
            self._rows.add(picture.name, {k: v.numpy(force=True) for k, v in slots.items()})

    def finish(self) -> None:
        """Write what is known at the end."""
        self._end_video()
        self.info['masks'] = self.source
        for name in ('failed.json', 'slots.json', 'slots.npz'):
            (self.out / name).unlink(missing_ok=True)
        if self._coco.num_images:
            self._coco.finish(self.info)
        if self._rows.names:
            self._rows.finish()
        if self.failed:
            text = json.dumps(self.failed, indent=2) + '\n'
            (self.out / 'failed.json').write_text(text)

    def _add_frame(self, path: Path, drawn: Any) -> None:
        file = self.out / 'overlays' / f'{self.outputs[self.videos[path]]}.mp4'
        if self._video is None or self._video.path != file:
            self._end_video()
            self._video = OverlayVideo(file, frame_rate(path))
        self._video.add(drawn)

    def _end_video(self) -> None:
        if self._video is not None:
            self._video.close()
        self._video = None


if __name__ == '__main__':
    sys.exit(main())
