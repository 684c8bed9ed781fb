"""What `world()` says under torchrun, before and after the process group is made.

torch_world.py FOLDER      by torchrun; writes FOLDER/<rank>.json
torch_world.py 0 1 STORE   alone, in an environment that may contradict the process group
"""

import json
import sys
from pathlib import Path

import torch.distributed as dist
from gloo_end import end

import headrace as hr


def launched(folder: Path) -> None:
    before = hr.world()
    dist.init_process_group("gloo")
    after = hr.world()
    (folder / f"{dist.get_rank()}.json").write_text(json.dumps([before, after]))
    end()


def alone(store: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    try:
        answer = hr.world()
    except hr.ArgumentError as error:
        answer = str(error)
    print(json.dumps(answer), flush=True)
    end()


if __name__ == "__main__":
    if len(sys.argv) == 2:
        launched(Path(sys.argv[1]))
    else:
        alone(sys.argv[3])
