"""Several runs at once: how many threads each has, and what each of them says."""

import os
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from distill.atari.environments import usable_cores
from distill.runs.process import Run

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


class Board:
    """What runs say: on a terminal a line of each, which changes, elsewhere line after line.

    Args:
        console: Where it stands.
        progress_only: Whether it is gone in the end, and where lines follow each other none but `PROGRESS` is shown.
    """

    def __init__(self, console: Console, *, progress_only: bool = False) -> None:
        self._console, self._begins = console, PROGRESS if progress_only else ("",)
        self._live = Live(console=console, auto_refresh=False, transient=progress_only) if console.is_terminal else None

    def __enter__(self) -> "Board":
        """Set it up."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave it as it is, or take it away."""
        if self._live is not None:
            self._live.stop()

    def show(self, runs: dict[str, Run], waits: str = "") -> None:
        """Show what is new.

        Args:
            runs: By the name that stands before what each says.
            waits: What is said of a run that has not said anything.
        """
        width = max(map(len, runs), default=0)
        for name, run in runs.items():
            lines = run.news()
            if self._live is None:
                self._print(name.ljust(width), lines)
        if self._live is not None:
            table = Table.grid(padding=(0, 2))
            for name, run in runs.items():
                table.add_row(Text(name), Text(run.last or waits, no_wrap=True, overflow="ellipsis"))
            self._live.update(table, refresh=True)

    def _print(self, name: str, lines: Sequence[str]) -> None:
        for line in lines:
            if line.startswith(self._begins):
                self._console.print(f"{name} {line}", markup=False, soft_wrap=True)
