"""A copy of the repository in which the blocks of the pages run: pictures, data, a checkpoint."""

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
from docs_commands import run
from docs_pages import ROOT, Block
from PIL import Image
from tiny_data import write_all

from mmocl.datasets.synthetic import render_scene

CONFIG = 'configs/psa/psa_base_conv_sprites.py'
WORK_DIR = 'work_dirs/psa'
CHECKPOINT = f'{WORK_DIR}/iter_1500.pth'
PHOTOS = ('bicycle', 'cat', 'cow', 'fruit', 'kite', 'street')
GENERATED = shutil.ignore_patterns('_build', '_api', '_repository', '__pycache__')
# What pages say where the reader has his own.
WORDS = {
    r'\bCONFIG\b': CONFIG,
    r'\b(CHECKPOINT|CKPT)\b': CHECKPOINT,
    r'/path/to/(data|weights)\b': r'\1',
    r'(?<=[=\s-])S\b': '0',
    r'\b(wS|bS)\b': 'w0',
}
# Programs that are not run as they are, but answered by the test.
SHIMS = ('python', 'python3', 'pip', 'make')
SHIM = """#!/bin/bash
printf '%s\\0' "$DOCS_LINE" "$MMOCL_MODEL_INDEX" "$(basename "$0")" "$@" $'\\x1e' > "$DOCS_REQUESTS"
read -r code < "$DOCS_ANSWERS"
exit "$code"
"""
Answer = Callable[[Block, str, list[str]], None]


def make_world(root: Path) -> Path:
    """Write everything that pages may use into an empty folder."""
    # Links to what is only read; what a page might write into is a copy.
    for name in ('mmocl', 'benchmarks', 'tests'):
        (root / name).symlink_to(ROOT / name)
    for name in ('configs', 'docs', 'projects', 'requirements', 'tools'):
        shutil.copytree(ROOT / name, root / name, ignore=GENERATED)
    for path in filter(Path.is_file, ROOT.iterdir()):
        shutil.copy(path, root)
    (root / 'photos').mkdir()
    for seed, name in enumerate(PHOTOS):
        write_photo(root / f'photos/{name}.jpg', seed)
    (root / 'data').mkdir()
    write_all(root / 'data')
    shims = root / '.shims'
    shims.mkdir()
    for name in SHIMS:
        (shims / name).write_text(SHIM)
        (shims / name).chmod(0o755)
    for pipe in ('requests', 'answers'):
        os.mkfifo(shims / pipe)
    here = Path.cwd()
    os.chdir(root)
    try:
        run(['tools/train.py', CONFIG, '--work-dir', WORK_DIR])
    finally:
        os.chdir(here)
    shutil.copytree(root / WORK_DIR, root / 'first_work_dir')
    return root


def write_photo(path: Path, seed: int) -> None:
    """A picture of objects, wider than high."""
    scene = render_scene(np.random.default_rng(seed), 240, 4)
    image = Image.fromarray(np.asarray(scene.image).astype(np.uint8))
    image.resize((320, 240)).save(path, quality=90)


def run_bash(block: Block, world: Path, answer: Answer) -> None:
    """Run a block by ``bash -e``; Python, pip and make are answered by a function.

    Args:
        block: The block.
        world: Folder to run it in.
        answer: Takes the block at the line of the command, the program and its arguments; what it
            raises ends the block.

    Raises:
        AssertionError: If a command fails that is not answered.
    """
    shims = world / '.shims'
    env = {
        **os.environ,
        'PATH': f'{shims}:{os.environ["PATH"]}',
        'DOCS_REQUESTS': str(shims / 'requests'),
        'DOCS_ANSWERS': str(shims / 'answers'),
    }
    script = "trap 'export DOCS_LINE=$LINENO' DEBUG\n" + in_words(block.code)
    bash = subprocess.Popen(
        ['bash', '-e', '-c', script],
        cwd=world,
        env=env,
        text=True,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    # Opened for both, so that neither side waits for the other to open.
    requests = os.open(shims / 'requests', os.O_RDWR)
    answers = os.open(shims / 'answers', os.O_RDWR)
    try:
        pending = b''
        while True:
            ready = select.select([requests], [], [], 0.02)[0]
            if not ready and bash.poll() is not None:
                break
            pending += os.read(requests, 65536) if ready else b''
            if pending.endswith(b'\x1e\0'):
                line, index, program, *argv, _ = pending.decode().split('\0')[:-1]
                pending = b''
                at = Block(block.page, block.line + int(line) - 2, block.language, block.code)
                with patch.dict(os.environ, {'MMOCL_MODEL_INDEX': index} if index else {}):
                    answer(at, program, argv)
                os.write(answers, b'0\n')
    finally:
        # With its children: one that waits for an answer would keep stderr open for ever.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(bash.pid, signal.SIGKILL)
        errors = bash.communicate()[1]
        os.close(requests)
        os.close(answers)
    assert bash.returncode == 0, f'{block.place}: bash says {errors.strip()[-800:]}'


def in_words(code: str) -> str:
    """The code with real names in place of the reader's own."""
    for word, value in WORDS.items():
        code = re.sub(word, value, code)
    return code
