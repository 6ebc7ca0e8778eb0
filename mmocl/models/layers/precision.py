import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Promote half types, which densities of many dimensions do not fit into; keep the others."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
