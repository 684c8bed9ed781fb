"""Without the library that reads a format, the error names the extra that installs it."""

import subprocess
import sys

import pytest

WITHOUT = """
import sys
sys.modules[{package!r}] = None
import headrace as hr
try:
    {call}
except hr.MissingExtraError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("what", "package", "extra", "call"),
    [
        ("hr.Arrow", "pyarrow", "arrow", "hr.Arrow(sys.executable)"),
        ("hr.Parquet", "pyarrow", "arrow", "hr.Parquet(sys.executable)"),
        ("hr.Hdf5", "h5py", "hdf5", "hr.Hdf5(sys.executable)"),
        ("hr.Zarr", "zarr", "zarr", "hr.Zarr(sys.prefix)"),
        ("Decoding images", "Pillow", "images", "hr.Images(sys.prefix, size=8)"),
        ("Decoding images", "Pillow", "images", "hr.ImageDecoder(8)"),
        ("Decoding images", "Pillow", "images", "hr.CenterCrop(8)"),
        ("Decoding audio", "soundfile", "audio", "hr.AudioFiles(sys.prefix)"),
        ("Decoding audio", "soundfile", "audio", "hr.RandomClip(8, rate=1)"),
        ("decoder='turbo'", "simplejpeg", "turbo", "hr.ImageDecoder(8, decoder='turbo')"),
        ("decoder='turbo'", "cykooz.resizer", "turbo", "hr.ImageDecoder(8, decoder='turbo')"),
    ],
    ids=lambda value: None if value.islower() else value,
)
def test_the_error_names_the_extra(what, package, extra, call):
    module = {"Pillow": "PIL", "cykooz.resizer": "cykooz_resizer"}.get(package, package)
    if extra == "turbo":
        pytest.importorskip("PIL", reason="needs headrace[images]")
        pytest.importorskip("simplejpeg", reason="needs headrace[turbo]")
    code = WITHOUT.format(package=module, call=call)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == (
        f"{what} needs {package}, which is not installed. "
        f"Install it with: pip install 'headrace[{extra}]'\n"
    )
