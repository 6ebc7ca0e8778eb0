from mmocl.visualization.composition_grid import composition_grid
from mmocl.visualization.drawing import colorize, contact_sheet, overlay
from mmocl.visualization.image_scores import ImageScores, Match, image_scores
from mmocl.visualization.overview import overview_tiles
from mmocl.visualization.palette import palette
from mmocl.visualization.panels import PANELS, draw_panels
from mmocl.visualization.score_panel import score_panel
from mmocl.visualization.slot_crops import slot_crops
from mmocl.visualization.slot_embedding import principal_axes, slot_embedding
from mmocl.visualization.slot_grid import slot_grid
from mmocl.visualization.slot_visualizer import SlotVisualizer
from mmocl.visualization.step_strip import step_strip

__all__ = [
    'PANELS',
    'ImageScores',
    'Match',
    'SlotVisualizer',
    'colorize',
    'composition_grid',
    'contact_sheet',
    'draw_panels',
    'image_scores',
    'overlay',
    'overview_tiles',
    'palette',
    'principal_axes',
    'score_panel',
    'slot_crops',
    'slot_embedding',
    'slot_grid',
    'step_strip',
]
