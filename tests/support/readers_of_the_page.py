"""The readers that docs/writing_a_reader.md makes, and the tests that it makes for them."""

import contextlib
import pathlib
import re
import tempfile

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "writing_a_reader.md"

with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
    code = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    exec(compile("import os\n" + "\n".join(code), PAGE, "exec"))
