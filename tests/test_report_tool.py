"""``tools/report.py`` as a user calls it."""

import os
import subprocess
import sys
from pathlib import Path

from report_run import NUM_UPDATES, ROOT, write_run

from tools import report as report_tool


def test_a_page_of_a_run(tmp_path) -> None:
    work_dir = write_run(tmp_path / 'work')
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, 'tools/report.py', str(work_dir), '--num-images', '3']
    command += ['--device', 'cpu', '--cfg-options', 'model.slot_head.num_iters=2']
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    out = work_dir / 'report.html'
    assert f'The page is {out}: 3 images, 0.0' in result.stdout
    assert 'ETA' in result.stdout
    assert 'Not on it' not in result.stdout
    page = out.read_text(encoding='utf-8')
    assert page.count('"steps":["data:image/png') == 3
    assert 'num_iters=2' in page
    assert NUM_UPDATES != 2


def test_what_a_page_lacks_is_printed(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / 'small.py').write_text("model = dict(type='SlotAutoencoder')\n")
    out = tmp_path / 'new' / 'page.html'
    monkeypatch.setattr(sys, 'argv', ['report.py', str(tmp_path), '--out', str(out)])
    report_tool.main()
    printed = capsys.readouterr().out
    assert '0 images' in printed
    for what in ('curves', 'scores of every image', 'pictures', 'signs of collapse'):
        assert f'Not on it: {what}, since' in printed
    page = Path(out).read_text(encoding='utf-8')
    assert 'python tools/train.py' in page
    assert '--protocol spot320' in page
