"""Without the library that reads a format, the error names the extra that installs it."""

import importlib.util
import json
import subprocess
import sys

CALLS = [
    # What needs a package, which is of an extra; and the module that is hidden.
    ("hr.Arrow", "pyarrow", "arrow", "pyarrow", "hr.Arrow(sys.executable)"),
    ("hr.Parquet", "pyarrow", "arrow", "pyarrow", "hr.Parquet(sys.executable)"),
    ("hr.Hdf5", "h5py", "hdf5", "h5py", "hr.Hdf5(sys.executable)"),
    ("hr.Zarr", "zarr", "zarr", "zarr", "hr.Zarr(sys.prefix)"),
    ("Decoding images", "Pillow", "images", "PIL", "hr.Images(sys.prefix, size=8)"),
    ("Decoding images", "Pillow", "images", "PIL", "hr.ImageDecoder(8)"),
    ("Decoding images", "Pillow", "images", "PIL", "hr.CenterCrop(8)"),
    ("Decoding audio", "soundfile", "audio", "soundfile", "hr.AudioFiles(sys.prefix)"),
    ("Decoding audio", "soundfile", "audio", "soundfile", "hr.RandomClip(8, rate=1)"),
]
SIMPLEJPEG = [
    ("decoder='turbo'", "simplejpeg", "turbo", "simplejpeg", "hr.ImageDecoder(8, decoder='turbo')"),
    (
        *("decoder='turbo'", "cykooz.resizer", "turbo", "cykooz_resizer"),
        "hr.ImageDecoder(8, decoder='turbo')",
    ),
    (
        *("decoder='opencv'", "opencv-python-headless", "opencv", "cv2"),
        "hr.ImageDecoder(8, decoder='opencv', antialias=False)",
    ),
]
SCRIPT = """
import json, sys
import headrace as hr
for *_, module, call in json.loads(sys.argv[1]):
    sys.modules[module] = None
    try:
        eval(call)
    except hr.MissingExtraError as error:
        print(error)
    del sys.modules[module]
"""


def test_the_error_names_the_extra():
    has_simplejpeg = all(map(importlib.util.find_spec, ("PIL", "simplejpeg")))
    calls = CALLS + SIMPLEJPEG if has_simplejpeg else CALLS
    command = [sys.executable, "-c", SCRIPT, json.dumps(calls)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"{what} needs {package}, which is not installed. "
        f"Install it with: pip install 'headrace[{extra}]'"
        for what, package, extra, *_ in calls
    ]
