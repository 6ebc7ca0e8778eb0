from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import default_collate

from mmocl.registry import FUNCTIONS


@FUNCTIONS.register_module()
def stack_inputs(batch: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Make a batch whose inputs are one tensor, as ``collate_fn`` of a dataloader.

    The worker that loads a batch stacks it, so that one tensor instead of one an image goes to the
    main process and to the device.

    Args:
        batch: Items with ``inputs`` and ``data_samples``, and what else a dataset gives.

    Returns:
        Lists of all, but of ``inputs`` a tensor with the batch first; a list if they differ in
        shape.
    """
    lists = {key: [item[key] for item in batch] for key in batch[0]}
    if len({inputs.shape for inputs in lists['inputs']}) == 1:
        # In a worker this stacks into shared memory, which the main process takes without a copy.
        lists['inputs'] = default_collate(lists['inputs'])
    return lists
