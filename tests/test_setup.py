"""The package as it is installed."""

import subprocess
import sys
from importlib.metadata import version

import mmocl
from mmocl import registry


def test_the_installed_version_is_the_one_in_the_package() -> None:
    assert version('mmocl') == mmocl.__version__


def test_importing_the_package_is_light() -> None:
    code = "import sys, mmocl; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


def test_names_are_found_without_custom_imports() -> None:
    code = "from mmengine.registry import MODELS; assert MODELS.get('mmocl.SlotAttention')"
    subprocess.run([sys.executable, '-c', code], check=True)
    assert registry.MODELS.scope == 'mmocl'
