from mmocl.datasets.synthetic.colored_sprites import ColoredSprites
from mmocl.datasets.synthetic.scene import Scene, render_scene
from mmocl.datasets.synthetic.sprites import sprite_mask

__all__ = ['ColoredSprites', 'Scene', 'render_scene', 'sprite_mask']
