"""Ctrl-C, SIGTERM and a closed terminal: a run ends what must not be cut in two, and then stops."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

INTERRUPTING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Somebody asked this process to stop; not an error, so nothing that handles errors may catch it.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number
        """What the process ends with."""


class Signals:
    """While it is entered, a signal raises `Stopped`: at once, or where it is deferred, when that ends.

    What has been asked once is not asked again: who is stopping does not stop because of a second signal. A signal that
    was ignored before, as Ctrl-C is in a script's background and a closed terminal by nohup, stays ignored.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        """The signal that came."""
        self.deferred = False
        """Whether something is going on that must not be cut in two."""
        self.pass_on: Any = None
        """Called with the signal when it comes, for processes that this one has started."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        """Begin to listen."""
        self._before = {number: signal.getsignal(number) for number in INTERRUPTING}
        self.listen()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop listening."""
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def listen(self) -> None:
        """Take the signals, also from whoever has taken them since."""
        if threading.current_thread() is threading.main_thread():
            for number, before in self._before.items():
                if before is not signal.SIG_IGN:
                    signal.signal(number, self._came)

    def stop_if_asked(self) -> None:
        """Raise what was deferred."""
        if self.asked is not None:
            raise Stopped(self.asked)

    def _came(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None:
            return
        self.asked = number
        if self.pass_on is not None:
            self.pass_on(number)
        if not self.deferred:
            raise Stopped(number)
