"""Takes so many steps over gloo, or all that are left of the epoch; from a state, if it exists.

torch_steps.py RANK WORLD_SIZE STORE STATE BATCH_SIZE [STEPS]
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import torch.distributed as dist
from gloo_end import end

import headrace as hr


def main(rank: int, world_size: int, store: str, saved: Path, size: int, steps: int | None) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
    loader = hr.Loader(np.arange(103), size, seed=9, tail="pad", **hr.world()._asdict())
    if saved.exists():
        loader.load_state_dict(json.loads(saved.read_text()))
    batches = [
        numbers[weights > 0].tolist()
        for numbers, weights in itertools.islice(loader.to_torch(), steps)
    ]
    dist.barrier()  # none may read what rank 0 is about to write
    if rank == 0:
        saved.write_text(json.dumps(loader.state_dict()))
    print(json.dumps(batches), flush=True)
    end()


if __name__ == "__main__":
    main(
        int(sys.argv[1]),
        int(sys.argv[2]),
        sys.argv[3],
        Path(sys.argv[4]),
        int(sys.argv[5]),
        int(sys.argv[6]) if len(sys.argv) > 6 else None,
    )
