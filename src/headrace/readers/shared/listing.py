"""Which of the files below a root are samples, and what is said of those that have the look of one.

    a/1.npy       a sample
    a/_2.npy      bookkeeping: passed over, and said once, as its name has the look of a sample's
    a/3.NPY       another case, which would hide a sample: said once
    a/4.npy.gz    another suffix: passed over

Where there are no samples at all, the error says what there is.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from headrace.errors import ArgumentError
from headrace.storage.opening import is_url
from headrace.storage.passed_over import warn_passed_over
from headrace.storage.storage import Storage

# What holds other files, or one, in compressed form. A .zip may be an array of Zarr.
_COMPRESSED = (".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".lz4")
_COMPRESSED_SUFFIX = re.compile(r"(?:\.[a-z0-9]{1,8})?\.(?:gz|bz2|xz|zst|lz4)\Z|\.[a-z0-9]+\Z")
_MOST_NAMED = 8
DECOMPRESS = "what is compressed as a whole can't be read at random: decompress it"


def is_bookkeeping(name: str) -> bool:
    """Whether a name, or that of a folder in it, begins with a dot or an underscore.

    So Spark, pandas, Delta, macOS and others call what is no data.
    """
    return name.startswith((".", "_")) or "/_" in name or "/." in name


def samples_below(
    storage: Storage, suffixes: tuple[str, ...], argument: str, *, any_case: bool = False
) -> list[str]:
    """The sorted names of the files below a root that are samples.

    Args:
        storage: where they lie.
        suffixes: what their names end with.
        argument: of the reader, which takes names of files.
        any_case: whether the suffixes may be in upper case, too.

    Raises:
        ArgumentError: there are none. It says what there is.
    """
    names = storage.names()
    chosen = chosen_among(names, suffixes, any_case=any_case)
    if not chosen:
        raise none_of(storage.root, names, suffixes, argument)
    warn_of_others(storage.root, names, chosen, suffixes, argument)
    return chosen


def chosen_among(
    names: Iterable[str], suffixes: tuple[str, ...], *, any_case: bool = False
) -> list[str]:
    """Those of the names that are samples, in their order."""
    if any_case:
        fitting = [name for name in names if name.lower().endswith(suffixes)]
    else:
        fitting = [name for name in names if name.endswith(suffixes)]
    # As `is_bookkeeping`, without a call for each of perhaps millions.
    return [one for one in fitting if one[:1] not in "._" and "/_" not in one and "/." not in one]


def warn_of_others(
    root: str,
    names: Sequence[str],
    chosen: Sequence[str],
    suffixes: tuple[str, ...],
    argument: str,
) -> None:
    """Warns of what is not chosen, although its name fits but for its case or its beginning."""
    if len(names) == len(chosen):
        return
    taken = set(chosen)
    others = [name for name in _fitting(names, suffixes) if name not in taken]
    hidden = [name for name in others if is_bookkeeping(name) and "/." not in f"/{name}"]
    cased = [name for name in others if not is_bookkeeping(name)]
    if hidden:
        warn_passed_over(
            f"{_several(hidden, root)} passed over: names that begin with '_' are bookkeeping, not "
            f"data. What is to be read all the same is named with {argument}=."
        )
    if cased:
        warn_passed_over(
            f"{_several(cased, root)} passed over: the end of the name must be in lower case. What "
            "is to be read must be renamed."
        )


def none_of(
    root: str, names: Sequence[str], suffixes: tuple[str, ...], argument: str
) -> ArgumentError:
    """The error that there are no samples, which says what there is instead."""
    listed = ", ".join(suffixes[:-1]) + " or " + suffixes[-1] if suffixes[1:] else suffixes[0]
    files = f"{listed} files".strip()
    said = instead_of(names, suffixes)
    folder, _, name = root.rpartition("/")
    if is_url(root) and not names and all(suffixes) and _fitting([name], suffixes):
        said += f" If that is a file, pass {folder!r} as root, and {argument}=[{name!r}]."
    return ArgumentError(f"root must contain {files}, but {root!r} has none{said}")


def instead_of(names: Sequence[str], suffixes: tuple[str, ...] = ()) -> str:
    """The end of the sentence that says that there are none: what there is, and what would help."""
    if not names:
        return ": it has no files at all."
    there = f": it has {counted(names)}."
    fitting = _fitting(names, suffixes)
    if any(not is_bookkeeping(name) for name in fitting):
        there += " Rename them, as the end of the name must be in lower case."
    elif fitting:
        there += " Names that begin with '_' are bookkeeping, not data."
    if any(map(is_compressed, names)):
        there += f" Note that {DECOMPRESS}."
    return there


def is_compressed(name: str) -> bool:
    """Whether the name is of a file that is compressed as a whole, as far as it tells."""
    return name.lower().endswith(_COMPRESSED)


def counted(names: Iterable[str]) -> str:
    """How many files there are of each suffix, such as "3 .tar.gz and 1 other files"."""
    counts = Counter(map(suffix_of, names)).most_common()
    parts = [f"{count} {suffix or 'other'}" for suffix, count in counts[:_MOST_NAMED]]
    left = sum(count for _, count in counts[_MOST_NAMED:])
    parts += [f"{left} more"] if left else []
    listed = ", ".join(parts[:-1]) + " and " + parts[-1] if parts[1:] else parts[0]
    return f"{listed} file{'' if listed.startswith('1 ') and not parts[1:] else 's'}"


def suffix_of(name: str) -> str:
    """What a name ends with, such as ".NPY", and ".tar.gz" where it is compressed."""
    base = name.rpartition("/")[2]
    found = _COMPRESSED_SUFFIX.search(base.lower())
    return base[found.start() :] if found and found.start() else os.path.splitext(base)[1]


def _fitting(names: Iterable[str], suffixes: tuple[str, ...]) -> list[str]:
    """Those that end with one of the suffixes, in whatever case."""
    lower = tuple(map(str.lower, suffixes))
    return [name for name in names if name.lower().endswith(lower)] if suffixes else []


def _several(names: Sequence[str], root: str) -> str:
    if len(names) == 1:
        return f"{names[0]!r} in {root!r} is"
    return f"{len(names)} files in {root!r}, such as {min(names)!r}, are"
