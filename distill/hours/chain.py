"""Recorded hours that follow each other: found in a folder, by what their names are hashes of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from distill.errors import DistillError
from distill.files.packing import unpack
from distill.files.store import HOUR_SUFFIX, unseal
from distill.hours.hour import NOT_IN_NAME, Hour, check_format, hour_name
from distill.replay import Steps

MOST_PLAYS_NAMED = 6
"""Chains that a message names, at most."""


class RecordedHour(NamedTuple):
    """A file of a teacher's hour, as far as its header says."""

    path: Path
    number: int
    """From 0."""
    depends_on: dict[str, Any]
    """What its name is a hash of, with the name of the hour before."""

    @property
    def name(self) -> str:
        """Return the name."""
        return self.path.name.removesuffix(HOUR_SUFFIX)

    def follows(self, before: str | None) -> bool:
        """Return whether it was played from the end of the hour of a name; None stands for the beginning."""
        return self.name == hour_name(self.depends_on, self.number, before)


def chain_of(source: Path, count: int | None = None) -> list[RecordedHour]:
    """Find recorded hours that follow each other.

    Args:
        source: A folder with the hours of one teacher's play; a run's folder that has such a folder `hours`; or the
            file of the last hour, in a folder with others.
        count: How many, the last ones; None means all that are there.

    Returns:
        Them, in the order of time. The first is not hour 0 where that is gone.

    Raises:
        ValueError: where there are none, or fewer; where a folder holds several plays; and for a damaged file.
    """
    folder = source if source.is_dir() else source.parent
    if source.is_dir() and not any(source.glob(f"*{HOUR_SUFFIX}")) and (source / "hours").is_dir():
        folder = source / "hours"
    if not source.exists():
        raise DistillError(f"{source} does not exist; give a folder of recorded hours, or the file of one")
    ends = _last_hours(folder) if source.is_dir() else [_opened_hour(source)]
    if len(ends) > 1:
        named = ", ".join(f"{end.name}{HOUR_SUFFIX}" for end in ends[:MOST_PLAYS_NAMED])
        more = f" and {len(ends) - MOST_PLAYS_NAMED} others" if len(ends) > MOST_PLAYS_NAMED else ""
        raise DistillError(f"{folder} holds {len(ends)} plays; give the file of the last hour of one: {named}{more}")
    chain = ends
    while (before := _before(chain[0])) is not None:
        chain = [before, *chain]
    if count is not None and count > len(chain):
        raise DistillError(f"hours is {count}; {source} holds {len(chain)} that follow each other")
    return chain if count is None else chain[-count:]


def steps_in(chain: Sequence[RecordedHour]) -> Steps:
    """Read hours, from the first step to the last.

    Raises:
        ValueError: for a damaged file.
    """
    return Steps.joined([_content_of(one.path, Hour.from_bytes).steps for one in chain])


def _last_hours(folder: Path) -> list[RecordedHour]:
    """List the hours that no other one follows."""
    found = {one.name: one for path in sorted(folder.glob(f"*{HOUR_SUFFIX}")) if (one := _recorded(path)) is not None}
    if not found:
        raise DistillError(f"{folder} holds no hours of a teacher; give a run's folder, or its data.store")
    followed = {before.name for one in found.values() if (before := _before(one)) is not None}
    return [one for name, one in found.items() if name not in followed]


def _before(hour: RecordedHour) -> RecordedHour | None:
    """Find the hour that one was played on from; None for the first, and where it is gone."""
    game = hour.depends_on["game"]
    for path in sorted(hour.path.parent.glob(f"{game}-{hour.number - 1:04}-*{HOUR_SUFFIX}")):
        if hour.follows(path.name.removesuffix(HOUR_SUFFIX)):
            return _opened_hour(path)
    return None


def _opened_hour(path: Path) -> RecordedHour:
    found = _recorded(path)
    if found is None:
        raise DistillError(f"{path} is no hour of a teacher; give a file that fit wrote into its data.store")
    return found


def _recorded(path: Path) -> RecordedHour | None:
    """Read a file's header; None for play of a module that learns."""
    _, header = _content_of(path, unpack)
    if not {"teacher", "game", *NOT_IN_NAME} <= header.keys():
        return None
    check_format(str(path), header.get("format"))
    depends_on = {name: value for name, value in header.items() if name not in NOT_IN_NAME}
    return RecordedHour(path, int(header["hour"]), depends_on)


def _content_of(path: Path, read: Any) -> Any:
    try:
        return read(unseal(path.read_bytes()))
    except ValueError as error:
        raise DistillError(f"{path} is damaged ({error}); remove it, and fit plays it again") from error
