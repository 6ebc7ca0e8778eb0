"""Configuration of the site: ``sphinx-build -W --keep-going -b html docs docs/_build/html``.

The built site needs no network: no fonts, scripts or pictures of others, no formulas to typeset.
"""

import sys
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

import repository_pages  # noqa: E402

from mmocl.version import __version__  # noqa: E402

project = 'mmocl'
author = 'The mmocl contributors'
html_show_copyright = False
version = release = __version__
extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.autosummary',
    'sphinx.ext.napoleon',
]
exclude_patterns = ['_build']
templates_path = ['_templates']

myst_enable_extensions = ['colon_fence']
myst_heading_anchors = 4

# What a package means to show is in its __all__.
autosummary_ignore_module_all = False
autosummary_imported_members = True
# A class is described once, in the package that a config finds it by.
autosummary_context = {'shown_elsewhere': ['mmocl.datasets.synthetic.ColoredSprites']}
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_class_signature = 'mixed'
autodoc_preserve_defaults = True
# Members that MMEngine and PyTorch bring are documented there.
autodoc_default_options = {'members': True, 'show-inheritance': True}
maximum_signature_line_length = 80
python_display_short_literal_types = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = 'furo'
html_title = f'mmocl {release}'
html_show_sourcelink = False
html_copy_source = False


def setup(app: Sphinx) -> None:
    """Bring the READMEs of the repository into the site."""
    repository_pages.setup(app)
