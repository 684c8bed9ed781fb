"""Tables of the docs that tests compare, and write with HEADRACE_WRITE_DOCS=1."""

import os
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
END = "<!-- End -->"


def check_table(page, written_by, expected):
    """The page of the docs has this table, behind a comment that names what writes it."""
    path, begin = DOCS / page, f"<!-- The table: written by {written_by} -->"
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    written, _, after = rest.partition(END)
    if os.environ.get("HEADRACE_WRITE_DOCS"):
        path.write_text(f"{before}{begin}\n\n{expected}\n\n{END}{after}", encoding="utf-8")
    else:
        assert written.strip() == expected, "run it again with HEADRACE_WRITE_DOCS=1"
