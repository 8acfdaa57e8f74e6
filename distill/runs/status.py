"""A line that says how far something is: on a terminal it changes where it stands, elsewhere one follows another."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

LINE_SECONDS_VARIABLE = "DISTILL_LINE_SECONDS"
"""Says how often a line is printed where there is no terminal."""
LINE_SECONDS = 30.0
"""How often by default."""
LOOK_SECONDS = 0.2
"""How often whoever works looks how far it is."""
REFRESHES = 2
"""A second, on a terminal."""
BAR_WIDTH = 16
GAP = "  "


@dataclass(frozen=True)
class Line:
    """What is said, in the order of its importance."""

    phase: str
    first: Sequence[str]
    """What is shown however narrow the terminal is, cut only where this alone is too long."""
    more: Sequence[str] = ()
    """What is shown as far as there is room."""
    share: float | None = None
    """How much is done, 0 to 1, for a bar before `more`; None draws none."""

    def drawn(self, width: int) -> RenderableType:
        """Draw it on so many columns."""
        begin = GAP.join((f"{self.phase:5}", *self.first))
        room = width - cell_len(begin)
        grid = Table.grid(padding=(0, len(GAP), 0, 0), pad_edge=False)
        text = Text(begin, no_wrap=True, overflow="crop")
        text.truncate(width, overflow="ellipsis")
        row: list[RenderableType] = [text]
        if self.share is not None and (room := room - len(GAP) - BAR_WIDTH) >= 0:
            row.append(ProgressBar(1.0, self.share, width=BAR_WIDTH))
        for part in self.more:
            if (room := room - len(GAP) - cell_len(part)) < 0:
                break
            row.append(Text(part, no_wrap=True))
        if len(row) == 1:
            return row[0]
        grid.add_row(*row)
        return grid

    def __str__(self) -> str:
        """Write all of it as one line of a file."""
        return f"{self.phase:5} {' · '.join((*self.first, *self.more))}"


class Status:
    """Shows a line while something goes on.

    Args:
        line: Asked whenever the line is drawn; on a terminal by another thread.
    """

    def __init__(self, line: Callable[[], Line]) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.quiet = False
        """Whether nothing is shown."""
        self.log: Path | None = None
        """A file that takes the lines as well, also of a terminal."""
        self._line = line
        self._in_place = self.console.is_terminal and not self.console.is_dumb_terminal
        self._live: Live | None = None
        self._printed = -float("inf")
        self._seconds = float(os.environ.get(LINE_SECONDS_VARIABLE, LINE_SECONDS))

    def start(self) -> None:
        """Draw the line, and again and again until `stop`; not where lines follow each other."""
        if self._live is None and self._in_place and not self.quiet:
            self._live = Live(
                console=self.console,
                get_renderable=lambda: self._line().drawn(self.console.width),
                refresh_per_second=REFRESHES,
                redirect_stdout=sys.stdout.isatty(),  # what goes to a file does not run into the line
            )
            self._live.start(refresh=True)

    def tell(self) -> None:
        """Print a line where lines follow each other, and log it, if the last is old enough."""
        if not self.quiet and time.monotonic() - self._printed >= self._seconds:
            self._print(self._line())

    def stop(self, last: Line | None = None, *, erase: bool = False) -> None:
        """Stop drawing.

        Args:
            last: What is to stand there from now on; printed at once where lines follow each other.
            erase: Whether nothing is to stay on a terminal.
        """
        if self._live is not None:
            self._live.transient = erase or last is not None
            self._live.stop()
        if last is not None and not self.quiet:
            if self._in_place:
                self.console.print(last.drawn(self.console.width))
            self._print(last)
        self._live = None

    def _print(self, line: Line) -> None:
        self._printed = time.monotonic()
        if self.log is not None:
            append_line(self.log, str(line))
        if not self._in_place:
            self.console.print(str(line), soft_wrap=True, markup=False)
            sys.stderr.flush()


def append_line(log: Path, text: str) -> None:
    """Add a line to a log, with date and time; where it cannot be written, say nothing."""
    with suppress(OSError), log.open("a", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")


def clock(seconds: float) -> str:
    """Write a time as `m:ss` or `h:mm:ss`."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
