"""A child of this process, which has everything imported already: a run of `fit` without the seconds of a start."""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path


def fork(log: Path, work: Callable[[], None]) -> int:
    """Begin a child and return its number; it ends as its work does, by `sys.exit` or with 0.

    Args:
        log: Where what it prints is added, and why it failed.
        work: What it does.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    with contextlib.suppress(BaseException):
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = sys.stderr = os.fdopen(output, "w", buffering=1)  # not the test's capture
        try:
            work()
            code = 0
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
    os._exit(code)
