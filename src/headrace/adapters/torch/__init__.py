"""PyTorch: a loader as a `torch.utils.data.DataLoader` of tensors, and the parts that it is of."""

from headrace.errors import missing_extra

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise missing_extra("headrace.adapters.torch", "PyTorch", "torch") from error

from headrace.adapters.torch.data_loader import HeadraceDataLoader, make_data_loader
from headrace.adapters.torch.dataset import Dataset
from headrace.adapters.torch.sampler import BatchNumbers, Keys, Sampler
from headrace.adapters.torch.tensors import as_tensor

__all__ = [
    "BatchNumbers",
    "Dataset",
    "HeadraceDataLoader",
    "Keys",
    "Sampler",
    "as_tensor",
    "make_data_loader",
]
