"""Signals: each asks once, with its exit code; what was ignored stays ignored."""

import os
import signal

import pytest

from distill.runs.signals import Signals, Stopped


@pytest.fixture
def handle(monkeypatch):
    """Set how this process takes signals, until the test ends."""
    before = []

    def take(number, handler):
        before.append((number, signal.signal(number, handler)))

    yield take
    for number, handler in reversed(before):
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_stops_once(handle, number, code):
    """Who is stopping goes on stopping when it is asked again."""
    handle(number, signal.SIG_DFL)
    with Signals() as signals:
        with pytest.raises(Stopped) as stop:
            os.kill(os.getpid(), number)
        assert stop.value.code == code
        os.kill(os.getpid(), number)
        assert signals.asked == number


def test_what_was_ignored_stays_ignored(handle):
    """Under nohup, a closed terminal stops nothing."""
    handle(signal.SIGHUP, signal.SIG_IGN)
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.asked is None
