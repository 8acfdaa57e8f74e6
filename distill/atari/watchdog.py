"""A watchdog for environments that hang: the process ends with one line instead of waiting for ever."""

import os
import sys
import threading
import time
import weakref
from typing import ClassVar

from distill.errors import DistillError

PATIENCE_SECONDS = 45.0
"""How long nothing may move in a process that waits for a step or for new episodes."""
MOST_PATIENCE = 20
"""After so many times as long such a call has failed, whatever moves."""
TICK_SECONDS = 0.5
MOVING_SECONDS = 0.005
"""Of a processor's time in a tick, from which on something moves: threads that load cartridges on a busy machine."""


class Watch:
    """Watches calls, each a `with` block, for their return; one thread does it for all.

    A native call that waits for a thread that is gone cannot be broken off, so the process ends, with 1. Time is
    counted in ticks of the watching thread in which the process does nothing: while it is stopped, or slow on a busy
    machine, none passes.

    Args:
        what: What is watched, for the message: `environments of pong`.
        patience: Seconds that a call may take in which nothing moves.
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
        self._ticks = self._still = 0
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

    def overdue(self, *, moved: bool = False) -> bool:
        """Count a tick; return whether the present call has taken too long.

        Args:
            moved: Whether the process did anything in this tick.
        """
        waits = self._pending and self._calls == self._seen
        self._ticks = self._ticks + 1 if waits else 0
        self._still = self._still + (not moved) if waits else 0
        self._seen = self._calls
        longest = max(self._still, self._ticks / MOST_PATIENCE)
        return longest * TICK_SECONDS >= self.patience


def _all_watches() -> list[Watch]:
    while True:
        try:
            return list(Watch._all)
        except RuntimeError:  # another thread has added one meanwhile
            pass


def _watch() -> None:
    before = time.process_time()
    while True:
        time.sleep(TICK_SECONDS)
        now = time.process_time()
        moved, before = now - before > MOVING_SECONDS, now
        for watch in _all_watches():
            if watch.overdue(moved=moved):
                print(f"error: {watch.what} have not answered for {watch.patience:g} seconds", file=sys.stderr)
                sys.stderr.flush()
                os._exit(1)
