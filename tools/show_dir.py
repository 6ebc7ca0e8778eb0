"""Where the pictures of a test go."""

from mmengine.config import Config


def set_show_dir(cfg: Config, folder: str) -> None:
    """Let a test draw every image.

    mmsegmentation's hook draws through the run's visualizer, into ``vis_data/vis_image`` of its
    folder, as its own ``tools/test.py`` has it.

    Args:
        cfg: Config of the run, which is changed.
        folder: Where the pictures go.

    Raises:
        ValueError: If the config has no hook that draws, or a visualizer that does not write.
    """
    hook = (cfg.get('default_hooks') or {}).get('visualization') or {}
    kind = hook.get('type', '').split('.')[-1]
    if kind == 'SlotVisualizationHook':
        hook.show_dir = folder
        return
    if kind != 'SegVisualizationHook':
        raise ValueError(
            '--show-dir needs default_hooks.visualization to be a SlotVisualizationHook or '
            f"mmsegmentation's SegVisualizationHook, got {hook.get('type')!r}"
        )
    visualizer = cfg.get('visualizer') or {}
    if not visualizer.get('vis_backends'):
        raise ValueError(
            "--show-dir needs visualizer=dict(type='SegLocalVisualizer', "
            f"vis_backends=[dict(type='LocalVisBackend')]), got {visualizer!r}"
        )
    hook.draw = True
    visualizer.save_dir = folder
    # Visualizers are kept by name, and the next test of this process draws elsewhere.
    visualizer.name = folder
