"""A run of `fit` in a process of its own: started, listened to, and stopped."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Forwarded = Sequence[str]
"""Options of another command: `--NAME.model.network net3` on one's command line is `--model.network net3` on its."""
CheckOptions = Callable[[Sequence[str]], Mapping[str, Any]]
"""Checks options of `fit` as a run would, without one, and returns the whole config."""

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
MISTAKE = "error: "
"""How the line begins in which a command says why it failed."""
POLL_SECONDS = 0.2
"""How often one looks at a run."""
STOP_SECONDS = 30
"""How long a run may take to stop when it is asked to."""


def rank() -> int:
    """Return the rank of this process in its run, as torchrun, srun or the Trainer that started it has it."""
    return int(next((os.environ[name] for name in RANK_VARIABLES if name in os.environ), 0))


class Run:
    """One run of `fit`, in a process of its own that writes into `FOLDER.log`.

    Args:
        name: Of it, and of its folder.
        parent: Where its folder and its log are.
        options: Of `fit`.
    """

    def __init__(self, name: str, parent: Path, options: Sequence[str]) -> None:
        self.name = name
        self.folder = parent / name
        self.log = parent / f"{name}.log"
        self.command = [sys.executable, "-m", "distill", "fit", *options, "--run_dir", str(self.folder)]
        self.last = ""
        """What it said last."""
        self._mistake = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._read = 0

    @property
    def started(self) -> bool:
        """Whether it has begun."""
        return self._process is not None

    @property
    def running(self) -> bool:
        """Whether it has begun and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def code(self) -> int:
        """What it ended with; 0 before."""
        return 0 if self._process is None else self._process.poll() or 0

    @property
    def reason(self) -> str:
        """Return why it failed: its last error or, without one, the last line that it printed."""
        return self._mistake.removeprefix(MISTAKE) or self.last or f"it ended with {self.code}"

    def start(self, environment: dict[str, str]) -> None:
        """Begin; Ctrl-C at the terminal does not reach it."""
        with self.log.open("ab") as log:  # what was said before stays: a run that goes on may have failed before
            self._read = log.tell()
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | environment,
                start_new_session=True,
            )

    def news(self) -> list[str]:
        """Read the whole lines that it wrote since the last call."""
        if not self.started:
            return []
        with self.log.open("rb") as log:
            log.seek(self._read)
            whole = log.read().rpartition(b"\n")[0]
        self._read += len(whole) + bool(whole)
        lines = [line for line in whole.decode(errors="replace").splitlines() if line.strip()]
        self.last = lines[-1].strip() if lines else self.last
        mistakes = [line for line in lines if line.startswith(MISTAKE)]
        self._mistake = mistakes[-1] if mistakes else self._mistake
        return lines

    def ask_to_stop(self) -> None:
        """Have it write a checkpoint and end; Ctrl-C might be ignored, as it is in a script's background."""
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        """Wait until it has stopped, which it was asked to; not for long."""
        if self._process is not None:
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
