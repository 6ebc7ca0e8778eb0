from mmengine.structures import BaseDataElement, InstanceData, PixelData


class SlotDataSample(BaseDataElement):
    """One image's ground truth and predictions.

    Ground truth (for evaluation only, but for properties, which set prediction learns from;
    resolution of the file, or of the ``frame`` that ``LoadImage`` cut from it):

    - ``gt_objects``: ``InstanceData`` of M objects with ``masks`` (M, H, W) bool tensor, ``labels``
      (M,) int64 category ids and ``crowd`` (M,) bool; synthetic data adds one tensor per property,
      and where only these are asked for (``ClevrScenes``, training) it has nothing else. Panoptic
      data holds all segments and adds ``stuff`` (M,) bool: True for stuff such as sky, which
      metrics count as background unless they are about panoptic segments.
    - ``gt_void``: ``PixelData`` with ``data`` (1, H, W) bool, pixels without annotation.

    Predictions:

    - ``pred_masks``: ``PixelData`` (K, h, w), soft masks of the decoder, one channel a slot.
    - ``pred_attn``: ``PixelData`` (K, h, w), attention of the slot head on the token grid.
    - ``pred_slots``: ``InstanceData`` with ``slots`` (K, D), ``active`` (K,) bool (False: neither
      decoded nor scored), and of mixture heads ``weight`` (K,).
    - ``pred_steps``: (T, K, h, w), attention of every update of the slot head, if it was asked for
      (``keep_steps``).
    - ``pred_slot_images``: (K, 3, H, W) in [0, 255], what the decoder paints from every slot alone,
      if it does that and ``keep_steps`` was asked for.
    - ``pred_image``: ``PixelData`` (3, H, W) in [0, 255], unless features are reconstructed.
    - ``recon_error``: mean squared error of the reconstruction, unless it is of discrete tokens.
    - ``pred_set``: ``InstanceData`` of set prediction, one object a slot: its properties under the
      names and in the units of ``gt_objects``, and ``score`` (K,), that it is real, in [0, 1].
    """


def _element(name: str, dtype: type) -> property:
    """A typed field of the data sample, as MMEngine's ``set_field`` checks it."""
    private = f'_{name}'

    def getter(self: SlotDataSample) -> BaseDataElement:
        return getattr(self, private)

    def setter(self: SlotDataSample, value: BaseDataElement) -> None:
        self.set_field(value, private, dtype=dtype)

    def deleter(self: SlotDataSample) -> None:
        delattr(self, private)

    return property(getter, setter, deleter)


for _name, _dtype in {
    'gt_objects': InstanceData,
    'gt_void': PixelData,
    'pred_masks': PixelData,
    'pred_attn': PixelData,
    'pred_slots': InstanceData,
    'pred_image': PixelData,
    'pred_set': InstanceData,
}.items():
    setattr(SlotDataSample, _name, _element(_name, _dtype))
