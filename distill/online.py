"""Online distillation with one command: a teacher that learns, and its students, each a run of `fit` of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import yaml
from jsonargparse.typing import Path_fr
from omegaconf import OmegaConf
from rich.console import Console
from rich.live import Live
from rich.table import Table

from distill import runs
from distill.atari import usable_cores
from distill.best import read_index
from distill.curves import draw
from distill.mistakes import fail
from distill.progress import LINE_SECONDS_VARIABLE
from distill.stopping import Signals, Stopped

POLL_SECONDS = 0.2
LINE_SECONDS = 5
"""How often each run says how far it is."""
PATIENCE_SECONDS = 30
"""How long a run may take to stop when it is asked to."""

Forwarded = Sequence[str]
"""Options of another command: `--NAME.model.network net3` on this command line is `--model.network net3` on its."""


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
        self._process: subprocess.Popen | None = None
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

    def start(self, environment: dict[str, str]) -> None:
        """Begin; Ctrl-C at the terminal does not reach it."""
        with self.log.open("wb") as log:
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
        return lines

    def ask_to_stop(self) -> None:
        """Have it write a checkpoint and end; Ctrl-C might be ignored, as it is in a script's background."""
        if self.running:
            self._process.terminate()

    def stop(self) -> None:
        """Wait until it has stopped, which it was asked to; not for long."""
        if self.started:
            try:
                self._process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def online(
    *,
    teacher: Path_fr,
    student: Path_fr,
    seeds: list[int] = [0],  # noqa: B006
    run_dir: str | None = None,
    teacher_options: Forwarded = (),
    student_options: Forwarded = (),
) -> None:
    """Train a teacher and, beside it, students that learn from its best network so far.

    Each is a run of `fit`, and can as well be started alone: its command is printed. The outcome is the same.

    Args:
        teacher: Config of the teacher's run; its `model.score_every_hours` is set. Its options, here as `--teacher.X`,
            change it.
        student: Config of the students' runs, with the callback `OnlineSwap` that follows `data.teacher`. Its options,
            here as `--student.X`, change it.
        seeds: One student for each.
        run_dir: Folder of these runs; default `runs/online/<number>`.
        teacher_options: What comes after `--teacher.`.
        student_options: What comes after `--student.`.

    Raises:
        ValueError: for configs that do not belong together, for no seed or one twice, and for a folder that is in use.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds is {seeds}; there must be one at least, and none twice")
    teacher, student = Path(teacher.absolute), Path(student.absolute)
    _check(teacher, teacher_options, student)
    folder = runs.claim("online", run_dir, resuming=False)
    os.environ.pop(runs.RUN_DIR_VARIABLE)
    learner = Run("teacher", folder, ["--config", str(teacher), *teacher_options])
    whose = ["--data.teacher", str(learner.folder)]
    students = [
        Run(
            f"student{seed}",
            folder,
            ["--config", str(student), *student_options, *whose, "--seed_everything", str(seed)],
        )
        for seed in seeds
    ]
    environment = {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, usable_cores() // (1 + len(students))))),
        LINE_SECONDS_VARIABLE: str(LINE_SECONDS),
    }
    print(f"run: {folder}")
    for run in (learner, *students):
        print(f"{run.name}: OMP_NUM_THREADS={environment['OMP_NUM_THREADS']} {' '.join(run.command)}")
    try:
        with Signals():
            try:
                _attend(learner, students, environment)
            finally:
                for run in (learner, *students):
                    run.ask_to_stop()
                for run in (learner, *students):
                    run.stop()
    except Stopped as stop:
        fail(f"interrupted; {folder}/*.log end with how each run goes on", code=stop.code)
    for run in (learner, *students):
        if run.code:
            fail(f"{run.name} failed: {run.last.removeprefix('error: ')}", code=1)
    try:
        draw([folder], folder / "figure5.png")
    except ValueError as error:
        print(f"no figure: {error}")


def _check(teacher: Path, options: Forwarded, student: Path) -> None:
    """Refuse what would only show when the runs have begun, or never."""
    keeps = OmegaConf.select(_load(teacher), "model.init_args.score_every_hours") is not None
    if not keeps and not any("score_every_hours" in option for option in options):
        raise ValueError(f"{teacher} keeps no best networks; set model.score_every_hours")
    callbacks = OmegaConf.select(_load(student), "trainer.callbacks") or []
    if not any("OnlineSwap" in str(callback) for callback in callbacks):
        raise ValueError(f"{student} does not follow its teacher; add the callback callbacks.online_swap.OnlineSwap")


def _load(config: Path) -> Any:
    try:
        return OmegaConf.load(config)
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{config} is no config ({str(error).splitlines()[0]})") from error


def _attend(learner: Run, students: Sequence[Run], environment: dict[str, str]) -> None:
    """Start all, show what they say, and wait until the last has ended; without its teacher none goes on."""
    everyone = (learner, *students)
    console = Console(stderr=True, highlight=False)
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    learner.start(environment)
    with live or nullcontext():
        while True:
            over = not any(run.running for run in everyone)
            for run in everyone:
                for line in run.news():
                    if live is None:
                        console.print(f"{run.name:8} {line}", markup=False, soft_wrap=True)
            if live is not None:
                live.update(_shown(everyone), refresh=True)
            if learner.code or over:
                return
            if not students[0].started and read_index(learner.folder) is not None:
                for run in students:
                    run.start(environment)
            time.sleep(POLL_SECONDS)


def _shown(everyone: Sequence[Run]) -> Table:
    table = Table.grid(padding=(0, 2))
    for run in everyone:
        table.add_row(run.name, run.last or "waits for the teacher's first network")
    return table
