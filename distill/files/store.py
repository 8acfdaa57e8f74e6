"""A folder of files that are made once, never change, and are shared among runs.

A file's name says everything that its content depends on, so whoever finds it need not make it. It is complete or
absent: written under another name, synced, renamed. It ends in its own checksum, which is looked at on every reading.
Two runs that want the same file make it once, the other waits; a run that dies lets go of what it held.
"""

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TypeVar

import portalocker

from distill.errors import DistillError

Loaded = TypeVar("Loaded")
HOUR_SUFFIX = ".hour"
UNFINISHED = ".part"
"""How the names end under which files are written."""
LOCK_SECONDS = 0.1
EVICTION = "eviction"
"""The lock of whoever removes files: two at once would trip over each other's."""
DIGEST_SIZE = hashlib.sha256().digest_size


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is either there as a whole or not at all, whenever the process dies.

    A link stays one; what is no file, as a pipe or `/dev/stdout`, is written as it is.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def folder_atomically(path: Path) -> Iterator[Path]:
    """Fill a folder so that it is there as a whole or not at all; one that is there before is replaced.

    Args:
        path: The folder.

    Yields:
        Another folder, empty, which becomes it in the end.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED) as temporary:
        new, old = Path(temporary) / "new", Path(temporary) / "old"
        new.mkdir()
        yield new
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(new, path)
        except BaseException:
            if old.exists():
                os.replace(old, path)
            raise


def remove_unfinished(folder: Path, name: str = "*") -> None:
    """Remove what a killed process has left of a file that it wrote; whoever calls knows that nobody writes it now."""
    for path in folder.glob(f".{name}.*{UNFINISHED}"):
        path.unlink(missing_ok=True)


def seal(content: bytes) -> bytes:
    """Add a checksum at the end."""
    return content + hashlib.sha256(content).digest()


def unseal(sealed: bytes) -> bytes:
    """Take the checksum off again.

    Raises:
        ValueError: where it is wrong.
    """
    content, digest = sealed[:-DIGEST_SIZE], sealed[-DIGEST_SIZE:]
    if hashlib.sha256(content).digest() != digest:
        raise DistillError("its checksum is wrong")
    return content


class Store:
    """Files by name, in a folder.

    Args:
        folder: Made where it is missing.
        limit_gb: The room that the files may take, in 10^9 bytes, above 0; beyond it those that were not used for the
            longest time go, except those that a run holds. None means no limit.
    """

    def __init__(self, folder: Path, limit_gb: float | None = None) -> None:
        self.folder = folder
        self.limit_gb = limit_gb
        self._held: dict[str, IO[bytes]] = {}

    def path(self, name: str) -> Path:
        """Return where the file of a name is, or would be."""
        return self.folder / (name + HOUR_SUFFIX)

    def get(
        self,
        name: str,
        make: Callable[[], bytes],
        read: Callable[[bytes], Loaded] = bytes,  # type: ignore[assignment]  # mypy wants no default of a TypeVar
        on_wait: Callable[[], None] = lambda: None,
    ) -> Loaded:
        """Read a file, or make it where it is missing or damaged, and hold it until `release`.

        Args:
            name: What its content depends on.
            make: Gives the content. While it works, others that want this file wait.
            read: Takes the content apart; raises a `ValueError` where it is damaged.
            on_wait: Called now and then while another run makes it; what it raises ends the waiting.
        """
        path = self.path(name)
        with self._alone_with(name, on_wait):
            remove_unfinished(self.folder, path.name)
            found = self._read(path, read)
            making = found is None
            if found is None:
                content = make()
                write_atomically(path, seal(content))
                self.release(name)  # the damaged one, if it was held
                found = read(content)
            self._hold(name)
        if making:
            self._evict()
        return found

    def hold(self, names: Iterable[str]) -> None:
        """Hold, until `release`, what is there of the files that will be asked for next."""
        for name in names:
            with self._lock(name) or nullcontext() as alone:
                if alone and self.path(name).exists():
                    self._hold(name)

    def release(self, name: str) -> None:
        """Let a file go: from now on it may be evicted."""
        if name in self._held:
            self._held.pop(name).close()

    def close(self) -> None:
        """Let all files go."""
        for name in list(self._held):
            self.release(name)

    def _alone_with(self, name: str, on_wait: Callable[[], None]) -> IO[bytes]:
        told = name == EVICTION  # which takes but a moment
        while (lock := self._lock(name)) is None:
            if not told:
                print(f"waiting for another run, which is making {self.path(name)}", file=sys.stderr)
                told = True
            on_wait()
            time.sleep(LOCK_SECONDS)
        return lock

    def _lock(self, name: str) -> IO[bytes] | None:
        locks = self.folder / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        return locked((locks / name).open("ab"))

    def _read(self, path: Path, read: Callable[[bytes], Loaded]) -> Loaded | None:
        try:
            return read(unseal(path.read_bytes()))
        except FileNotFoundError:
            return None
        except ValueError as error:
            print(f"{path} is damaged ({error}); making it again", file=sys.stderr)
            return None

    def _hold(self, name: str) -> None:
        os.utime(self.path(name))
        if name not in self._held:
            self._held[name] = self.path(name).open("rb")
            portalocker.lock(self._held[name], portalocker.LockFlags.SHARED)

    def _evict(self) -> None:
        if self.limit_gb is None:
            return
        with self._alone_with(EVICTION, lambda: None):
            files = {path: path.stat() for path in self.folder.glob("*" + HOUR_SUFFIX)}
            excess = sum(stat.st_size for stat in files.values()) - self.limit_gb * 1e9
            for path in sorted(files, key=lambda path: files[path].st_mtime_ns):
                if excess <= 0:
                    break
                # Whoever reads a file has locked its name, whoever holds it the file itself; which on a network's disk
                # can be locked alone only where it is open for writing.
                name = self._lock(path.stem)
                file = locked(path.open("r+b")) if name else None
                if file is not None:
                    path.unlink()
                    excess -= files[path].st_size
                for lock in (file, name):
                    if lock is not None:
                        lock.close()


def locked(file: IO[bytes]) -> IO[bytes] | None:
    """Lock a file for one alone; where others have it, close it."""
    try:
        portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.LockException:
        file.close()
        return None
    return file
