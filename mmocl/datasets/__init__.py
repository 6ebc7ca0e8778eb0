from mmocl.datasets.synthetic import ColoredSprites

__all__ = ['ColoredSprites']
