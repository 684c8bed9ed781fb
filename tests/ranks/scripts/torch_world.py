"""What `world()` says under torchrun, before and after the process group is made.

torch_world.py FOLDER      by torchrun; writes FOLDER/<rank>.json
torch_world.py 0 1 STORE   alone, in an environment that contradicts the process group
"""

import json
import sys
from pathlib import Path

import torch.distributed as dist

import headrace as hr


def launched(folder: Path) -> None:
    before = hr.world()
    dist.init_process_group("gloo")
    after = hr.world()
    (folder / f"{dist.get_rank()}.json").write_text(json.dumps([before, after]))
    dist.destroy_process_group()


def contradicted(store: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    try:
        hr.world()
    except hr.ArgumentError as error:
        print(json.dumps(str(error)), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    if len(sys.argv) == 2:
        launched(Path(sys.argv[1]))
    else:
        contradicted(sys.argv[3])
