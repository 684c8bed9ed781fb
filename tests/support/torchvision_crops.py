"""Draws the crops of torchvision that tests compare with, and stores them.

pip install --no-deps torchvision==0.28.0
python tests/support/torchvision_crops.py tests/data/crops/torchvision-0.28.0.npz
"""

import sys

import numpy as np

# Pictures, as (height, width): of the second and third, many or all crops don't fit.
SIZES = ((375, 500), (90, 40), (20, 600))
N = 2000


def draw():
    """(top, left, height, width) of crops by the defaults, shape (len(SIZES), N, 4)."""
    import torch

    # The build of PyPI is for another build of torch: its own operators are not needed here.
    torch.library.register_fake = lambda *args, **options: lambda function: function
    from torchvision.transforms import RandomResizedCrop

    torch.manual_seed(0)
    crop = RandomResizedCrop(224)
    return np.array(
        [
            [crop.get_params(torch.empty(3, *size), crop.scale, crop.ratio) for _ in range(N)]
            for size in SIZES
        ],
        np.int16,
    )


if __name__ == "__main__":
    np.savez_compressed(sys.argv[1], crops=draw())
