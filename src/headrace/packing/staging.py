"""Staging: the folder next to a target where it is written, and from which it is moved when whole.

<target>.partial/journal.json    which job this is, and how far it has come
<target>.partial/sums.jsonl      the checksums of the files that are ended
<target>.partial/lock            held by the process at work, where the system has such locks
<target>.partial/new/            the target itself, and the files that go next to it at the end
<target>.partial/old/            what was replaced

Promises that the target is there only when it is whole, with all files that belong to it; and that
the next run goes on with whatever a kill leaves.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, TypedDict

from headrace.atomic_file import atomic_file
from headrace.errors import ArgumentError
from headrace.packing.sums import Sums
from headrace.packing.target import TargetState

_PARTS = {"journal.json", "journal.json.new", "sums.jsonl", "lock", "new", "old"}


class _Journal(TypedDict):
    """What journal.json holds."""

    job: dict[str, object]
    state: TargetState
    whole: bool
    replaced: list[str]


class Staging:
    """The folder where `target` is written.

    Args:
        target: the file or folder to be made.
        job: what is written, and from what, in JSON types. Only the same job goes on with what is
            there.
        restart: throw away what another job has left.

    Raises:
        ArgumentError: (a ValueError) another job has left something, or is at work.
    """

    def __init__(self, target: Path, job: Mapping[str, object], restart: bool) -> None:
        self.target, self._job = target, dict(job)
        self._folder = target.with_name(target.name + ".partial")
        self.new = self._folder / "new"
        self._check_ours()
        self._folder.mkdir(exist_ok=True)
        self._lock = self._locked()
        try:
            self._journal = self._load(restart)
            if self._journal is None:
                self.restart()
            self.new.mkdir(exist_ok=True)
            self.sums = Sums(self._folder / "sums.jsonl")
        except BaseException:
            self._lock.close()
            raise

    @property
    def state(self) -> TargetState | None:
        """What was last saved, or None."""
        return self._journal and self._journal["state"]

    @property
    def is_whole(self) -> bool:
        """Whether all is written, and perhaps moved in part."""
        return self._journal is not None and self._journal["whole"]

    def restart(self) -> None:
        """Throws away what is there."""
        # The journal goes first: if this is killed, it must not tell of what is no longer there.
        for part in ("journal.json", *sorted(_PARTS - {"journal.json", "lock"})):
            _remove(self._folder / part)
        self._journal = None
        self.new.mkdir()
        if hasattr(self, "sums"):
            self.sums.close()
            self.sums = Sums(self._folder / "sums.jsonl")

    def save(
        self, state: TargetState, *, whole: bool = False, replaced: list[str] | None = None
    ) -> None:
        """Makes safe how far the job has come."""
        self.sums.flush()
        self._journal = {
            "job": self._job,
            "state": state,
            "whole": whole,
            "replaced": sorted(replaced or []),
        }
        new = self._folder / "journal.json.new"
        with atomic_file(self._folder / "journal.json", new), open(new, "w") as file:
            json.dump(self._journal, file, indent=1)
        _sync_folder(self._folder)

    def move(self) -> None:
        """Moves all files to where they belong, the target last. A kill within is gone on with."""
        assert self._journal is not None
        folder, written = self.target.parent, self.new / self.target.name
        _sync_folders(self.new)
        if written.exists():
            # What belonged to the old target goes before the new one comes.
            old = self._folder / "old"
            old.mkdir(exist_ok=True)
            for name in [self.target.name, *self._journal["replaced"]]:
                if os.path.lexists(folder / name) and name not in os.listdir(old):
                    os.replace(folder / name, old / name)
            for path in sorted(self.new.iterdir()):
                if path != written:
                    os.replace(path, folder / path.name)
            _sync_folder(folder)
            os.replace(written, self.target)
            _sync_folder(folder)
        self.close()
        for part in ("old", "new", "sums.jsonl", "lock", "journal.json"):  # which is needed so long
            _remove(self._folder / part)
        self._folder.rmdir()

    def close(self) -> None:
        """Closes what is open; what is written stays, if anything was saved."""
        self.sums.close()
        if self._journal is None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()

    def _check_ours(self) -> None:
        try:
            found = set(os.listdir(self._folder))
        except FileNotFoundError:
            return
        except NotADirectoryError:
            found = {self._folder.name}
        if found - _PARTS:
            raise ArgumentError(
                f"DST must leave {str(self._folder)!r} free, which is where it is made, but "
                "something else is there. Move it away, or choose another DST."
            )

    def _locked(self) -> BinaryIO:
        lock = open(self._folder / "lock", "wb")  # noqa: SIM115
        with contextlib.suppress(ModuleNotFoundError):  # not on Windows
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                raise ArgumentError(
                    f"DST must be packed by one process at a time, but another one is at work on "
                    f"{str(self.target)!r}. Wait for it to end."
                ) from None
            except OSError:
                pass  # a file system without locks
        return lock

    def _load(self, restart: bool) -> _Journal | None:
        try:
            journal: _Journal = json.loads((self._folder / "journal.json").read_bytes())
        except FileNotFoundError:
            return None  # killed before it had started, or after it had ended
        if journal["job"] == self._job:
            return journal
        if restart:
            return None
        differ = [key for key in self._job if self._job[key] != journal["job"].get(key)]
        raise ArgumentError(
            f"DST was begun before from something else: {str(self._folder)!r} has another "
            f"{' and '.join(differ)}. To go on with it, pack the same source with the "
            "same options; to begin anew, delete it or pass --force."
        )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync_folders(root: Path) -> None:
    for folder, _, _ in os.walk(root):
        _sync_folder(Path(folder))


def _sync_folder(folder: Path) -> None:
    """Makes the names in a folder safe, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
