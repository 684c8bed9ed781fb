"""The end of a process that has used gloo."""

import os
import sys
from typing import NoReturn

import torch.distributed as dist


def end() -> NoReturn:
    """Ends the process group, and then the process without taking the interpreter apart.

    PyTorch's threads outlive its process group, and some of the many processes that the interpreter
    took apart beside them were aborted: https://github.com/pytorch/pytorch/issues/190489
    """
    dist.barrier()  # else the first to end cuts off those that still connect with it
    dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
