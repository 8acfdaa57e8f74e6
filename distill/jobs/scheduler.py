"""Runs of `fit` that belong together: each a process of its own, so many at a time, resumed where they stopped.

Any number of commands may work in one folder: each run has a claim, which one of them holds while the run goes on.
"""

import hashlib
import itertools
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from rich.console import Console

from distill.console.configs import CONF
from distill.errors import DistillError
from distill.files.store import locked, write_atomically
from distill.jobs.board import RUN_LINE_SECONDS, Board, threads_of
from distill.report.page import interval, points
from distill.report.results import is_online, read_results
from distill.runs.folder import RESUME_LAST
from distill.runs.signals import Signals, Stopped
from distill.runs.status import LINE_SECONDS_VARIABLE

CLAIMS = ".jobs"
"""In a folder of runs: of each a lock, and with which options it was begun."""
MISTAKE = "error: "
"""How the line begins in which a command says why it failed."""
POLL_SECONDS = 0.2
"""How often one looks at runs."""
STOP_SECONDS = 30
"""How long a run may take to stop when it is asked to."""


class Job(NamedTuple):
    """One run of `fit`."""

    name: str
    """Of its folder."""
    options: tuple[str, ...]
    needs: str | None = None
    """The name of a job before this one that must have ended; if it fails, this one cannot end either."""
    may_begin: Callable[[], bool] | None = None
    """Asked instead, where the job may begin before the one that it needs has ended."""
    differs: str = ""
    """In what it differs from others, for people."""

    @property
    def title(self) -> str:
        """Return the name for people."""
        return f"{self.name} ({self.differs})" if self.differs else self.name


def check_fit_options(options: Sequence[str]) -> Mapping[str, Any]:
    """Check options of a run, as `distill.fit.check_options`."""
    from distill import fit  # which takes seconds, for Lightning

    return fit.check_options(options)


def has_ended(run: Path) -> bool:
    """Return whether a run has been learned and scored to its end."""
    return (run / "scores.json").is_file()


def command_of(job: Job, folder: Path) -> list[str]:
    """Return the command line of a job's run, which goes on where it was begun."""
    resuming = ("--ckpt_path", RESUME_LAST) if (folder / job.name).is_dir() else ()
    run_dir = ("--run_dir", str(folder / job.name))
    return [sys.executable, "-m", "distill", "fit", *job.options, *resuming, *run_dir]


class Run:
    """A process that runs a job, and writes what it says into `FOLDER.log`.

    Args:
        job: What it runs.
        folder: Where the run's folder and its log are.
        claim: An open file, locked; closed when the process has ended.
    """

    def __init__(self, job: Job, folder: Path, claim: IO[bytes]) -> None:
        self.job = job
        self.folder = folder / job.name
        self.log = folder / f"{job.name}.log"
        self.command = command_of(job, folder)
        self.last = ""
        """What it said last."""
        self._claim = claim
        self._process: subprocess.Popen[bytes] | None = None  # a signal may come before it has begun
        self._mistake = ""
        self._read = 0

    @property
    def running(self) -> bool:
        """Return whether the process goes on."""
        return self._process is not None and self._process.poll() is None

    @property
    def reason(self) -> str:
        """Return why it failed, its last error or else the last line that it printed; nothing where it did not."""
        code = None if self._process is None else self._process.poll()
        if not code and has_ended(self.folder):
            return ""
        return self._mistake.removeprefix(MISTAKE) or self.last or f"it ended with {code}"

    def start(self, environment: Mapping[str, str]) -> None:
        """Begin; Ctrl-C at the terminal does not reach it."""
        with self.log.open("ab") as log:  # what was said before stays: a run that goes on may have failed before
            self._read = log.tell()
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
                pass_fds=[self._claim.fileno()],  # so the claim stands for as long as the run goes on, whoever dies
            )

    def news(self) -> list[str]:
        """Read the whole lines that it wrote since the last call."""
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
        self._claim.close()


class Scheduler:
    """Runs jobs, and says how far they are.

    Args:
        folder: Of the runs' folders.
        again: How somebody goes on who has stopped this, for messages.
        total: How many jobs there are.
        at_a_time: How many run at once, each with its share of the threads; 1 or more.
        environment: Variables of the runs, beside those of this process.
    """

    def __init__(
        self,
        folder: Path,
        again: str,
        *,
        total: int,
        at_a_time: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder, self._again, self._total, self._at_a_time = folder, again, total, at_a_time
        threads = threads_of(at_a_time) if at_a_time > 1 else {}
        self._environment = {**threads, LINE_SECONDS_VARIABLE: RUN_LINE_SECONDS, **(environment or {})}
        self._console = Console(stderr=True, highlight=False)
        self._numbers = itertools.count(1)
        self._waiting: dict[str, Job] = {}
        self._running: dict[str, Run] = {}
        self._elsewhere: set[str] = set()
        self.failed: dict[str, str] = {}
        """Why jobs have failed, by name."""

    def run(self, jobs: Iterable[Job]) -> None:
        """Run all that have not ended; `failed` then says which have failed.

        Args:
            jobs: Those that others need come before these. The next is asked for when there is room for it.

        Raises:
            DistillError: where somebody stops this, and for a run that was begun with other options.
        """
        coming = iter(jobs)
        try:
            with Signals(), Board(self._console) as board:
                try:
                    while self._fill(coming) or self._running:
                        board.show(self._running)
                        time.sleep(POLL_SECONDS)
                        self._clear()
                finally:
                    for run in self._running.values():
                        run.ask_to_stop()
                    for run in self._running.values():
                        run.stop()
        except Stopped as stop:
            where = f" in {', '.join(run.job.name for run in self._running.values())}" if self._running else ""
            raise DistillError(f"interrupted{where}; {self._again}", code=stop.code) from stop

    def check(self) -> None:
        """Raise an error that says which jobs have failed, if any have."""
        if self.failed:
            named = "; ".join(f"{name} ({reason})" for name, reason in self.failed.items())
            raise DistillError(f"{len(self.failed)} of {self._total} runs failed; {self._again}: {named}", code=1)

    def _fill(self, coming: Iterator[Job]) -> bool:
        """Start what can be started, as far as there is room; return whether anything waits."""
        for title, job in list(self._waiting.items()):
            self._try(title, job)
        while len(self._running) < self._at_a_time and (following := next(coming, None)) is not None:
            title = f"[{next(self._numbers)}/{self._total}] {following.title}"
            self._waiting[title] = following
            self._try(title, following)
        return bool(self._waiting)

    def _try(self, title: str, job: Job) -> None:
        """Start a job, unless it has ended, cannot end, must wait, or runs elsewhere."""
        if has_ended(self._folder / job.name):
            self._say(f"{title}: has ended before")
        elif job.needs in self.failed:
            self.failed[job.name] = f"needs {job.needs}"
        elif len(self._running) == self._at_a_time or not self._may_begin(job):
            return
        elif (claim := self._claimed(job)) is None:
            if title not in self._elsewhere:
                self._say(f"{title}: another process runs it")
            self._elsewhere.add(title)
            return
        else:
            remember_options(job, self._folder)
            self._running[title] = run = Run(job, self._folder, claim)
            self._say(f"{title}: {shlex.join(run.command)}")
            run.start(self._environment)
        del self._waiting[title]

    def _may_begin(self, job: Job) -> bool:
        if job.may_begin is not None:
            return job.may_begin()
        return job.needs is None or has_ended(self._folder / job.needs)

    def _claimed(self, job: Job) -> IO[bytes] | None:
        """Claim a job; None where another process has."""
        (self._folder / CLAIMS).mkdir(parents=True, exist_ok=True)
        return locked((self._folder / CLAIMS / f"{job.name}.lock").open("ab"))

    def _clear(self) -> None:
        """Free the places of those that have ended, and say what they came to."""
        for title, run in list(self._running.items()):
            if run.running:
                continue
            del self._running[title]
            run.news()
            run.stop()
            if run.reason:
                self.failed[run.job.name] = run.reason
                self._say(f"{title}: failed, {run.log} says why")
                for other in self._running.values():
                    if other.job.needs == run.job.name:
                        other.ask_to_stop()
            elif not is_online(run.folder):
                self._say(f"{title}: {_scored(run.folder)}")

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)


def _scored(run: Path) -> str:
    """Describe a run's scores."""
    said = []
    for result in read_results(run):
        beside = f", its teacher {points(result.teacher['mean'])}" if result.teacher else ""
        said.append(f"{result.game} {points(result.own['mean'])} ({interval(tuple(result.own['interval95']))}){beside}")
    return "; ".join(said)


def check_begun(jobs: Sequence[Job], folder: Path) -> None:
    """Refuse to take what other options have made for these jobs.

    Raises:
        ValueError: naming the first of them.
    """
    for job in jobs:
        begun = _options_then(job, folder)
        if begun is not None and begun != _that_matter(job.options):
            raise DistillError(
                f"{folder / job.name} was begun with other options, {shlex.join(begun)}; give another run_dir"
            )


def remember_options(job: Job, folder: Path) -> None:
    """Write down with which options a job was begun."""
    check_begun([job], folder)
    content = json.dumps(_that_matter(job.options), indent=2) + "\n"
    write_atomically(folder / CLAIMS / f"{job.name}.json", content.encode())


def _options_then(job: Job, folder: Path) -> list[str] | None:
    file = folder / CLAIMS / f"{job.name}.json"
    try:
        found = json.loads(file.read_text())
        if not isinstance(found, list):
            raise DistillError("it is no list")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DistillError(f"{file} is damaged ({error}); give another run_dir") from None
    return [str(option) for option in found]


def _that_matter(options: Sequence[str]) -> list[str]:
    """List a run's options but for where it finds its configs and its teachers' play.

    A config that does not come along is named by its content, too.
    """
    pairs = list(itertools.pairwise(["", *options]))
    return [
        _config_name(Path(option)) if before == "--config" else option
        for before, option in pairs
        if "--data.store" not in (before, option)
    ]


def _config_name(config: Path) -> str:
    if not config.is_file() or config.resolve().is_relative_to(CONF.resolve()):
        return config.name
    return f"{config.name} of SHA-256 {hashlib.sha256(config.read_bytes()).hexdigest()[:16]}"
