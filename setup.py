"""Package metadata; the version is read as text, so that building needs no dependency."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


match = re.search(r"__version__ = '(.+)'", (ROOT / 'mmocl' / 'version.py').read_text())
assert match, 'mmocl/version.py holds no __version__'

setup(
    name='mmocl',
    version=match[1],
    description='Object-centric learning toolbox on MMEngine',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['mmocl', 'mmocl.*']),
    package_data={
        'mmocl': ['py.typed'],
        'mmocl.visualization.report': ['page.html', 'page.css', 'page.js'],
    },
    python_requires='>=3.11',
    install_requires=requirements('runtime'),
    extras_require={
        name: requirements(name)
        for name in ('docs', 'evaluation', 'export', 'segmentation', 'tests')
    },
)
