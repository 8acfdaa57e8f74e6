"""A watchdog for environments that hang: the process ends with one line instead of waiting for ever."""

import os
import sys
import threading
import time
import weakref
from typing import ClassVar

from distill.errors import DistillError

PATIENCE_SECONDS = 45.0
"""How long a step, or a new episode, may take; 30 cartridges load in 3 seconds."""
TICK_SECONDS = 0.5


class Watch:
    """Watches calls, each a `with` block, for their return; one thread does it for all.

    A native call that waits for a thread that is gone cannot be broken off, so the process ends, with 1. Time is
    counted in ticks of the watching thread: while the process itself is stopped, none passes.

    Args:
        what: What is watched, for the message: `environments of pong`.
        patience: Seconds that a call may take.
    """

    _all: ClassVar[weakref.WeakSet["Watch"]] = weakref.WeakSet()
    _thread: ClassVar[threading.Thread | None] = None

    def __init__(self, what: str, patience: float = PATIENCE_SECONDS) -> None:
        self.what = what
        self.patience = patience
        self._process = os.getpid()
        self._calls = 0
        self._pending = False
        self._seen = 0
        self._ticks = 0
        Watch._all.add(self)
        if Watch._thread is None or not Watch._thread.is_alive():  # as after a fork
            Watch._thread = threading.Thread(target=_watch, name="watchdog", daemon=True)
            Watch._thread.start()

    def __enter__(self) -> None:
        """Start the clock of a call.

        Raises:
            ValueError: in another process than the one that has made it, whose threads are not here.
        """
        if os.getpid() != self._process:
            raise DistillError(f"{self.what} do not outlive a fork; make them in the process that uses them")
        self._calls += 1
        self._pending = True

    def __exit__(self, *error: object) -> None:
        """Stop the clock."""
        self._pending = False

    def overdue(self) -> bool:
        """Count a tick; return whether the present call has taken too long."""
        self._ticks = self._ticks + 1 if self._pending and self._calls == self._seen else 0
        self._seen = self._calls
        return self._ticks * TICK_SECONDS >= self.patience


def _all_watches() -> list[Watch]:
    while True:
        try:
            return list(Watch._all)
        except RuntimeError:  # another thread has added one meanwhile
            pass


def _watch() -> None:
    while True:
        time.sleep(TICK_SECONDS)
        for watch in _all_watches():
            if watch.overdue():
                print(f"error: {watch.what} have not answered for {watch.patience:g} seconds", file=sys.stderr)
                sys.stderr.flush()
                os._exit(1)
