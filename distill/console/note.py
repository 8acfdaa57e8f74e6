"""A note on a terminal while nothing else can be shown yet; needs no library."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from distill.runs.process import rank


@contextmanager
def note(text: str) -> Iterator[None]:
    """Show one line on the terminal of standard error, and take it away in the end; elsewhere show nothing.

    Args:
        text: What is being waited for; cut where the terminal ends.
    """
    if not sys.stderr.isatty() or rank() != 0:
        yield
        return
    plain = os.environ.get("TERM", "dumb") == "dumb"
    width = max(1, shutil.get_terminal_size().columns - 1)  # in the last column some terminals begin a new line
    shown = text if len(text) <= width else text[: width - 1] + "…"
    sys.stderr.write(shown + ("\n" if plain else ""))
    sys.stderr.flush()
    try:
        yield
    finally:
        if not plain:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
