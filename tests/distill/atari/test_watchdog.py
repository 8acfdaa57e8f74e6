"""Environments that hang, and those that were forked: one line instead of a hang."""

import os
import subprocess
import sys

import numpy as np

from distill.atari.environments import Atari
from distill.atari.watchdog import TICK_SECONDS, Watch

HANGING = """
import numpy as np
from distill.atari.environments import Atari
games = Atari("pong", 2, num_threads=1)
games._watch.patience = 2
games.restart(np.array([1, 2]))
with games._watch:
    games._envs.step(np.array([0, 99]))
"""


def test_an_environment_that_hangs_ends_the_process_with_one_line():
    """A native environment waits for ever for an action out of range; the process does not."""
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "error: environments of pong have not answered for 2 seconds\n"


def test_after_a_fork_environments_are_refused():
    """A forked process, which has none of the native threads, gets an error; its parent plays on."""
    games = Atari("pong", 2, num_threads=1)
    games.restart(np.array([1, 2]))
    child = os.fork()
    if child == 0:
        try:
            games.step(np.array([0, 0]))
        except ValueError as error:
            os._exit(7 if "do not outlive a fork" in str(error) else 1)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    games.step(np.array([0, 0]))
    games.close()


def test_time_is_counted_per_call():
    """Many calls that follow each other are never overdue; one that takes as many ticks is."""
    watch = Watch("they", patience=3 * TICK_SECONDS)
    Watch._all.discard(watch)  # counted here, not by the thread
    with watch:
        assert [watch.overdue() for _ in range(5)] == [False, False, False, True, True]
    for _ in range(9):
        with watch:
            assert not watch.overdue()
    assert not watch.overdue()
    with watch:  # a machine so slow that little moves, but something does
        assert not any(watch.overdue(moved=True) for _ in range(50))
        assert any(watch.overdue(moved=True) for _ in range(20))
