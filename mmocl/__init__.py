"""mmocl: object-centric learning on MMEngine."""

from mmocl.version import __version__

__all__ = ['__version__']
