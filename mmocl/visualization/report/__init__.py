from mmocl.visualization.report.gather import gather
from mmocl.visualization.report.page import render

__all__ = ['gather', 'render']
