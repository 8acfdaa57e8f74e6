"""A person's play, frame by frame, in a text file: written while they play, and checked against the emulator.

The rows are those of Atari-HEAD (Zhang et al. 2020), so both are read alike: one for each frame, with the episode, the
reward and the action that was taken on what was seen then. Our own recordings say in a first line what was played, by
whom and under which licence, and give a checksum of each screen; Atari-HEAD may have a picture for each.
"""

import csv
import itertools
import json
import lzma
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import cv2
import numpy as np
from jaxtyping import UInt8

from distill.atari.cartridge import ALL_ACTIONS, Cartridge, rom_md5
from distill.atari.starts import Episode
from distill.errors import DistillError

LOG_MARK = "# distill "
WHOSE = ("game", "player", "licence")
"""What a recording's first line says of it, or else an option."""
COLUMNS = "frame_id,episode_id,score,duration(ms),unclipped_reward,action"
NOOPS_TRIED = 10
"""Leading no-ops, more than none, with which an episode is tried: old emulators reset faster or slower."""
ARCHIVES = (".tar.bz2", ".tar.gz", ".tar")


class LogRow(NamedTuple):
    """A frame."""

    frame_id: str
    episode: str
    reward: int | None
    """Of the frame; None where the file does not say."""
    action: int
    screen: str
    """Checksum of what was seen before the action; empty where there is none."""


class Verified(NamedTuple):
    """How far an episode could be replayed."""

    episode: Episode
    rows: int
    """Of the recording that are this episode's."""
    vouched: int
    """Of these, from the first."""
    color_averaging: bool
    """Whether its pictures blend two frames."""
    diverges: str
    """What was different after that, and at which frame; empty where nothing was."""


Seen = Callable[[LogRow], UInt8[np.ndarray, "210 160 3"] | None]
"""The picture of a frame, where there is one."""


def checksum(screen: UInt8[np.ndarray, "210 160"]) -> str:
    """Sum up a grey screen in eight hexadecimal digits."""
    return f"{zlib.crc32(np.ascontiguousarray(screen).tobytes()):08x}"


class LogWriter:
    """A new recording; every row is handed to the system at once, so a player that dies loses nothing.

    Args:
        path: The file, which must not exist.
        game: ALE name.
        player: Who plays.
        licence: Under which the recording may be used.

    Raises:
        FileExistsError: where the file exists.
    """

    def __init__(self, path: Path, game: str, *, player: str, licence: str) -> None:
        header = {"game": game, "player": player, "human": True, "licence": licence}
        header |= {"rom_md5": rom_md5(game), "ale_py": version("ale-py")}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("x", buffering=1, encoding="utf-8")
        self._file.write(f"{LOG_MARK}{json.dumps(header)}\n{COLUMNS},screen\n")
        self.frames = 0
        """Written so far."""
        self._score = self._episode = 0

    def add(self, screen: UInt8[np.ndarray, "210 160"], action: int, reward: int) -> None:
        """Add a frame: what was seen, what was done, and what came of it."""
        self._score += reward
        row = (self.frames, self._episode, self._score, 1000 // 60, reward, action, checksum(screen))
        self._file.write(",".join(map(str, row)) + "\n")
        self.frames += 1

    def end_episode(self) -> None:
        """Begin another episode."""
        self._episode, self._score = self._episode + 1, 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> tuple[dict[str, Any], list[LogRow]]:
    """Read a recording.

    Returns:
        What the first line says, empty for a file of Atari-HEAD; and the frames. A last line that was cut is left out,
        and so is a byte-order mark.

    Raises:
        ValueError: for a file that is missing or of another kind, or a line that makes no sense.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
        header = json.loads(lines.pop(0).removeprefix(LOG_MARK)) if lines and lines[0].startswith(LOG_MARK) else {}
        if not isinstance(header, dict) or not all(isinstance(header.get(name, ""), str) for name in WHOSE):
            raise ValueError
    except (OSError, ValueError, RecursionError) as error:
        raise DistillError(f"{path} is no recording ({getattr(error, 'strerror', None) or 'damaged'})") from error
    if not lines or not lines[0].replace(" ", "").startswith(COLUMNS):
        raise DistillError(f"{path} is no recording; its columns must be {COLUMNS}, as in Atari-HEAD")
    if not lines[-1].endswith("\n"):
        lines.pop()
    first = 2 + bool(header)
    rows: list[LogRow] = []
    for number, line in enumerate(_fields(path, lines[1:]), start=first):
        if len(line) > 5 and line[5].strip() == "null":
            continue  # a frame that was seen, and after which nothing was done
        try:
            frame_id, episode, _, _, reward, action = (field.strip() for field in line[:6])
            row = LogRow(frame_id, episode, _parsed_number(reward), int(action), line[6] if header else "")
        except (ValueError, IndexError) as error:
            raise DistillError(f"{path}, line {number}: {','.join(line)[:60]!r} is not {COLUMNS}") from error
        if not 0 <= row.action < ALL_ACTIONS:
            raise DistillError(
                f"{path}, line {number}: action {row.action}; it must be between 0 and {ALL_ACTIONS - 1}"
            )
        rows.append(row)
    return header, rows


def _fields(path: Path, lines: list[str]) -> Iterator[list[str]]:
    try:
        yield from csv.reader(lines)
    except csv.Error as error:
        raise DistillError(f"{path} is no recording ({error})") from error


def _parsed_number(field: str) -> int | None:
    return None if field in ("null", "") else int(field)


@contextmanager
def pictures(log: Path) -> Iterator[Seen]:
    """Return the pictures that belong to a recording: a folder or a tar archive of its name beside it, or none."""
    stem = log.with_suffix("")
    archive = next((path for suffix in ARCHIVES if (path := stem.parent / (stem.name + suffix)).is_file()), None)
    with tempfile.TemporaryDirectory() as scratch:
        if archive is not None:
            try:
                with tarfile.open(archive) as file:
                    file.extractall(scratch, filter="data")
            except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
                raise DistillError(f"{archive} cannot be unpacked ({error})") from error
        folder = stem if stem.is_dir() else Path(scratch)
        found = {path.stem: path for path in folder.rglob("*.png")}

        def seen(row: LogRow) -> UInt8[np.ndarray, "210 160 3"] | None:
            path = found.get(row.frame_id)
            picture = None if path is None else cv2.imread(str(path), cv2.IMREAD_COLOR)
            return None if picture is None else picture[..., ::-1]

        yield seen


def verify(game: str, rows: list[LogRow], seen: Seen) -> list[Verified]:
    """Replay a recording's episodes, each from a freshly loaded game, as far as everything is as recorded.

    A frame is vouched for by a picture or a checksum of what was seen after it or, where there is neither, by a reward
    other than 0 at or after it. Pictures may blend two frames, as those of some old emulators do: both are tried.

    Args:
        game: ALE name.
        rows: The frames.
        seen: Their pictures.
    """
    cartridges = {blending: Cartridge(game, color_averaging=blending) for blending in (False, True)}
    verified: list[Verified] = []
    groups = [list(group) for _, group in itertools.groupby(rows, key=lambda row: row.episode)]
    for rest in groups:
        while rest:  # some files do not number their episodes
            one = _verify(cartridges, rest, seen)
            rest = rest[one.rows :]
            if one.diverges and len(groups) == 1:  # so what follows may be of others, and its length is not known
                one = one._replace(episode=one.episode._replace(frames=len(one.episode.actions)))
            verified.append(one)
    return verified


def _verify(cartridges: dict[bool, Cartridge], rows: list[LogRow], seen: Seen) -> Verified:
    pictured = any(seen(row) is not None for row in rows)
    tries = itertools.product((False, True) if pictured else (False,), range(NOOPS_TRIED + 1))
    next(tries)
    best = _replay(cartridges[False], rows, 0, seen)
    for blending, noops in tries:
        if not best.diverges:
            break
        tried = _replay(cartridges[blending], rows, noops, seen)
        if tried.vouched > best.vouched:
            best = tried._replace(color_averaging=blending)
    return best


def _replay(cartridge: Cartridge, rows: list[LogRow], noops: int, seen: Seen) -> Verified:
    cartridge.restart()
    for _ in range(noops):
        cartridge.act(0)
    vouched, length, diverges = 0, len(rows), ""
    for frame, row in enumerate(rows):
        if cartridge.over:
            length = frame
            break
        picture = seen(row)
        if picture is not None and not np.array_equal(picture, cartridge.picture):
            diverges = f"frame {frame}: picture {row.frame_id} shows something else"
        elif row.screen and row.screen != checksum(cartridge.screen):
            diverges = f"frame {frame}: the screen is another"
        if diverges:
            break
        if row.screen or picture is not None:
            vouched = frame
        reward = cartridge.act(row.action)
        if row.reward is None:
            continue
        if row.reward != reward:
            diverges = f"frame {frame}: the reward is {reward}, {row.reward} was recorded"
            break
        if reward:
            vouched = frame + 1
    actions = [0] * noops * (vouched > 0) + [row.action for row in rows[:vouched]]
    episode = Episode(np.array(actions, np.uint8), noops + length)
    return Verified(episode, rows=length, vouched=vouched, color_averaging=False, diverges=diverges)
