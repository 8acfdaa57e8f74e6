"""The store: files that are whole or absent, made once, checked, and evicted when nobody holds them."""

import contextlib
import multiprocessing
import os
import resource
import time
from pathlib import Path

import pytest

from distill.files.store import Store, write_atomically

CONTENT = bytes(range(200)) * 5


@pytest.fixture
def open_store(tmp_path):
    """Open stores on one folder, which are closed at the end."""
    opened = []

    def open_(limit_gb: float | None = None) -> Store:
        opened.append(Store(tmp_path, limit_gb))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


def never() -> bytes:
    raise AssertionError("made again")


def test_a_file_is_made_once(open_store):
    """What was made is read afterwards, by this store and by another on the same folder."""
    assert open_store().get("a", lambda: CONTENT) == CONTENT
    store = open_store()
    assert store.get("a", never) == CONTENT
    assert store.get("b", lambda: b"other") == b"other"
    assert store.get("a", never) == CONTENT


@pytest.mark.parametrize("place", [0, 500, 999, 1000, 1031])
def test_one_flipped_bit_is_noticed(open_store, capsys, place):
    """A file with one flipped bit, in its content or in its checksum, is named and made again."""
    store = open_store()
    store.get("a", lambda: CONTENT)
    damaged = bytearray(store.path("a").read_bytes())
    damaged[place] ^= 1
    store.path("a").write_bytes(damaged)
    assert store.get("a", lambda: b"anew") == b"anew"
    assert f"{store.path('a')} is damaged" in capsys.readouterr().err
    assert store.get("a", never) == b"anew"


def test_what_a_killed_process_left_is_removed(tmp_path, open_store):
    """Before a file is read or made, what was left of it under another name goes; that of others stays."""
    for name in (".a.hour.x1y2z3.part", ".b.hour.x1y2z3.part"):
        (tmp_path / name).touch()
    open_store().get("a", lambda: CONTENT)
    assert [path.name for path in tmp_path.glob(".*.part")] == [".b.hour.x1y2z3.part"]


def test_links_and_pipes_stay_what_they_are(tmp_path):
    """A link's target is replaced, not the link; a pipe is written into; a folder is refused."""
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(tmp_path / "pipe", b"new")
    assert os.read(reader, 10) == b"new"
    os.close(reader)
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path, b"new")


@pytest.mark.parametrize("length", [0, 1, 31, 32, 600, 1031])
def test_a_cut_file_is_noticed(open_store, capsys, length):
    """A file cut short anywhere is named and made again."""
    store = open_store()
    store.get("a", lambda: CONTENT)
    store.path("a").write_bytes(store.path("a").read_bytes()[:length])
    assert store.get("a", lambda: CONTENT) == CONTENT
    assert "damaged" in capsys.readouterr().err
    assert store.get("a", never) == CONTENT


def test_nothing_is_left_of_what_could_not_be_made(tmp_path, open_store):
    """Where making fails, there is no file, and the next one may make it."""
    store = open_store()

    def fail() -> bytes:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        store.get("a", fail)
    assert not list(tmp_path.glob("*.hour"))
    assert store.get("a", lambda: CONTENT) == CONTENT


def test_write(tmp_path):
    """A file is written with its folder, replaces an older one, is readable by all and leaves nothing beside it."""
    path = tmp_path / "new" / "file"
    write_atomically(path, b"old and longer")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_a_target_that_cannot_be_replaced(tmp_path):
    """Where a folder with content is in the way it stays, and nothing is left beside it."""
    target = tmp_path / "target"
    target.mkdir()
    (target / "content").write_text("old")
    with pytest.raises(OSError, match="target"):
        write_atomically(target, b"new")
    assert list(tmp_path.iterdir()) == [target]
    assert (target / "content").read_text() == "old"


def test_a_write_that_fails_midway(tmp_path):
    """Where the room runs out the old file stays as it was, and nothing is left beside it."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_atomically(path, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def fill(store: Store, names: str) -> None:
    """Make files of 1,032 bytes each, one after the other on the clock of the file system."""
    for name in names:
        store.get(name, lambda: CONTENT)
        time.sleep(0.02)


def names(folder: Path) -> str:
    return "".join(sorted(path.stem for path in folder.glob("*.hour")))


def test_the_oldest_unused_go_first(tmp_path, open_store):
    """Beyond the limit, files go in the order of their last use, and only as many as needed."""
    store = open_store(4.2e-6)
    fill(store, "abcd")
    store.close()
    fill(store, "a")
    store.close()
    fill(store, "ef")
    assert names(tmp_path) == "adef"


def test_a_gigabyte_is_ten_to_the_nine_bytes(tmp_path, open_store):
    """In 4,000 bytes there is room for three files of 1,032, not for four."""
    for files in ("abcd", "e"):
        store = open_store(4.0e-6)
        fill(store, files)
        store.close()
    assert names(tmp_path) == "cde"


def test_a_file_in_use_stays(tmp_path, open_store):
    """What another run holds, or this one has not released, is not evicted, even if the limit cannot be kept."""
    other, store = open_store(), open_store(2.2e-6)
    fill(other, "ab")
    fill(store, "cd")
    assert names(tmp_path) == "abcd"
    other.release("a")
    store.release("c")
    fill(store, "e")
    assert names(tmp_path) == "bde"


def test_what_will_be_wanted_is_held_before(tmp_path, open_store):
    """Files can be held by name before they are read; names that have none do not matter; reading evicts nothing."""
    before = open_store()
    fill(before, "abc")
    before.close()
    store = open_store(1e-6)
    store.hold(["a", "x", "b"])
    store.get("c", never)
    assert names(tmp_path) == "abc"
    store.release("c")
    fill(store, "e")
    assert names(tmp_path) == "abe"


def make_slowly(folder: Path, made: multiprocessing.Queue, number: int) -> None:
    def make() -> bytes:
        made.put(number)
        time.sleep(0.5)
        return CONTENT

    with contextlib.closing(Store(folder)) as store:
        assert store.get("a", make) == CONTENT


def test_two_runs_make_a_file_once(tmp_path):
    """Of several processes that want one file, one makes it while the others wait, and all read the same."""
    context = multiprocessing.get_context("spawn")
    made = context.Queue()
    runs = [context.Process(target=make_slowly, args=(tmp_path, made, number)) for number in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0, 0]
    assert made.get(timeout=5) in range(3)
    assert made.empty()


def hang(folder: Path, made: multiprocessing.Event) -> None:
    def make() -> bytes:
        made.set()
        time.sleep(100)
        return b""

    Store(folder).get("a", make)


def test_a_dead_run_lets_go(tmp_path, open_store):
    """Whoever waits for a run that is killed makes the file itself."""
    context = multiprocessing.get_context("spawn")
    making = context.Event()
    run = context.Process(target=hang, args=(tmp_path, making))
    run.start()
    assert making.wait(30)
    run.kill()
    run.join()
    assert open_store().get("a", lambda: CONTENT) == CONTENT


def test_a_file_that_is_being_read_stays(tmp_path, open_store):
    """Who evicts passes by a file whose reader has locked its name, but does not hold it yet."""
    store, reader = open_store(2.2e-6), open_store()
    fill(store, "ab")
    store.close()
    with reader._lock("a"):
        fill(store, "c")
        assert names(tmp_path) == "ac"
    store.close()
    fill(store, "d")
    assert names(tmp_path) == "cd"


def test_waiting_can_be_given_up(tmp_path, open_store):
    """What is raised while another run makes a file ends the waiting for it, at once."""
    store, other = open_store(), open_store()

    def give_up() -> None:
        raise TimeoutError

    with other._lock("a"), pytest.raises(TimeoutError):
        store.get("a", never, on_wait=give_up)
    assert store.get("a", lambda: CONTENT) == CONTENT
