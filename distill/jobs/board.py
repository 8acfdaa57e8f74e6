"""Several runs at once: how many threads each has, and what each of them says."""

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from distill.atari.environments import usable_cores

THREADS_VARIABLE = "OMP_NUM_THREADS"
RUN_LINE_SECONDS = "10"
"""How often one of several runs says how far it is, as `distill.runs.status.LINE_SECONDS_VARIABLE` has it."""
PROGRESS = ("play", "learn", "score", "done")
"""How the lines begin in which a run says how far it is."""


def threads_of(runs: int) -> dict[str, str]:
    """Return the variable that sets the threads of each of several runs: its share of the cores.

    Where it is set already, it stays.
    """
    return {THREADS_VARIABLE: os.environ.get(THREADS_VARIABLE, str(max(1, usable_cores() // runs)))}


@runtime_checkable
class Speaker(Protocol):
    """A run that says something, see `distill.jobs.scheduler.Run`."""

    last: str

    def news(self) -> Sequence[str]:
        """Return the whole lines that it wrote since the last call."""


class Board:
    """How far runs are: on a terminal a line of each, which changes, and is gone in the end; elsewhere line after line.

    Args:
        console: Where it stands.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> "Board":
        """Begin to show."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop showing."""
        if self._live is not None:
            self._live.stop()

    def show(self, runs: Mapping[str, Speaker]) -> None:
        """Show what runs have said since the last call.

        Args:
            runs: By the name that stands before what each says.
        """
        width = max(map(len, runs), default=0)
        for name, run in runs.items():
            lines = run.news()
            if self._live is None:
                for line in lines:
                    if line.startswith(PROGRESS):
                        self._console.print(f"{name.ljust(width)} {line}", markup=False, soft_wrap=True)
        if self._live is not None:
            table = Table.grid(padding=(0, 2))
            for name, run in runs.items():
                table.add_row(Text(name), Text(run.last, no_wrap=True, overflow="ellipsis"))
            self._live.update(table, refresh=True)
