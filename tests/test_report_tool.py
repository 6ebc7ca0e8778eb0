"""``tools/report.py`` as a user calls it."""

import sys
from pathlib import Path

import pytest
from report_run import write_run

from tools import report as report_tool


def call(monkeypatch: pytest.MonkeyPatch, *args: str) -> None:
    monkeypatch.setattr(sys, 'argv', ['report.py', *args])
    report_tool.main()


def test_a_page_of_a_run(tmp_path, monkeypatch, capsys) -> None:
    work_dir = write_run(tmp_path / 'work')
    capsys.readouterr()
    options = ['--device', 'cpu', '--cfg-options', 'model.slot_head.num_iters=2']
    call(monkeypatch, str(work_dir), '--num-images', '3', *options)
    out = work_dir / 'report.html'
    printed = capsys.readouterr().out
    assert f'The page is {out}: 3 images, 0.0' in printed
    assert 'Not on it' not in printed
    page = out.read_text(encoding='utf-8')
    assert page.count('"steps":["data:image/png') == 3
    assert 'settings differ from the shipped config' in page
    assert 'num_iters=2' in page


def test_what_a_page_lacks_is_printed(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / 'small.py').write_text("model = dict(type='SlotAutoencoder')\n")
    out = tmp_path / 'new' / 'page.html'
    call(monkeypatch, str(tmp_path), '--out', str(out))
    printed = capsys.readouterr().out
    assert '0 images' in printed
    for what in ('curves', 'scores of every image', 'pictures', 'signs of collapse'):
        assert f'Not on it: {what}, since' in printed
    page = Path(out).read_text(encoding='utf-8')
    assert 'python tools/train.py' in page
    assert '--protocol spot320' in page
