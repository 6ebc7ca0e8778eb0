from mmocl.export.exported_model import OUTPUTS, ExportedModel
from mmocl.export.image_shape import image_shape
from mmocl.export.parity import max_differences
from mmocl.export.writers import write_onnx, write_program

__all__ = [
    'OUTPUTS',
    'ExportedModel',
    'image_shape',
    'max_differences',
    'write_onnx',
    'write_program',
]
