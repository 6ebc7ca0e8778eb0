from mmocl.model_files.checkpoint_loader import LoadedCheckpoint, load_checkpoint, trained_config
from mmocl.model_files.config_data import config_from_text, inference_config
from mmocl.model_files.published import PublishedModel, read_published, write_published
from mmocl.model_files.safe_pickle import load_pickle

__all__ = [
    'LoadedCheckpoint',
    'PublishedModel',
    'config_from_text',
    'inference_config',
    'load_checkpoint',
    'load_pickle',
    'read_published',
    'trained_config',
    'write_published',
]
