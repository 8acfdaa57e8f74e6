"""`python -m distill reproduce`: the paper's tables from our own runs, one or more of them at a time."""

import hashlib
import itertools
import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from distill import checks
from distill.console.configs import CONF
from distill.errors import DistillError
from distill.files.store import write_atomically
from distill.jobs.experiments import Cell, Plan, TableName, planned_cells
from distill.report.command import report
from distill.report.page import interval, points
from distill.report.published import GAME_NAMES
from distill.report.results import is_online, read_results
from distill.runs.folder import RESUME_LAST, alone_in
from distill.runs.process import POLL_SECONDS, CheckOptions, Forwarded, Run
from distill.runs.side_by_side import RUN_LINE_SECONDS, Board, threads_of
from distill.runs.signals import Signals, Stopped
from distill.runs.status import LINE_SECONDS_VARIABLE

RUNS_INDEX = "runs.json"
"""In a folder of runs: with which options each was begun."""


def reproduce(
    table: TableName = "all",
    /,
    *,
    hours: int = 5,
    seeds: list[int] = [0],  # noqa: B006
    games: list[str] | None = None,
    jobs: int = 1,
    run_dir: str | None = None,
    store: str = "runs/paper/play",
    dry_run: bool = False,
    fit_options: Forwarded = (),
    check_options: CheckOptions,
) -> None:
    """Run the paper's experiments, and report them beside the paper's numbers.

    What has ended is not run again; what was interrupted goes on. Games without a shipped teacher are left out.

    Args:
        table: Which of the paper's tables; `all` means every run of any of them once.
        hours: Of play that each student sees of each game, simulated hours, 1 or more; the paper's are 500 for one
            game, 500 for three together, and 34,000 for ten together. Figure 5 takes four times as many.
        seeds: One run of each experiment for each.
        games: Which of the paper's ten; by default all. What takes several at once is run where all of its are among
            them, table 2 with those that are.
        jobs: How many run at a time, each with its share of the threads.
        run_dir: Folder of the runs; default `runs/paper/hours<N>`. The report is in its `report`.
        store: Folder of the teachers' play, shared by all runs.
        dry_run: Whether to print the commands, and run nothing.
        fit_options: What comes after `--fit.`: options of all runs, e.g. `--fit.trainer.accelerator gpu`.
        check_options: Checks the options of a run.

    Raises:
        ValueError: for no seed or one twice, for games that are none of the paper's or have no run in the table, for a
            folder whose runs were begun with other options, and while another command runs in it.
    """
    checks.at_least(1, hours=hours, jobs=jobs)
    checks.at_least(0, **{f"seeds[{place}]": seed for place, seed in enumerate(seeds)})
    if not seeds or len(set(seeds)) < len(seeds):
        raise DistillError(f"seeds is {seeds}; there must be one at least, and none twice")
    if games == []:
        raise DistillError("games is []; there must be one at least, or null for all")
    checks.one_of(GAME_NAMES, **{f"games[{place}]": game for place, game in enumerate(games or ())})
    folder = Path(run_dir or f"runs/paper/hours{hours}")
    cells, missing = planned_cells(table, Plan(hours, store, folder, tuple(games or GAME_NAMES)), seeds)
    if not cells:
        raise DistillError(
            f"{table} has no run of {', '.join(games or missing)} alone; give more games, or none for all"
        )
    if missing:
        print(f"left out, for no teacher is shipped: {', '.join(missing)}")
    _check_begun(cells, folder, fit_options)
    if dry_run:
        for cell in cells:
            state = (
                "has ended"
                if _has_ended(folder / cell.name)
                else shlex.join(_run_of(cell, folder, fit_options).command)
            )
            print(f"{cell.name}: {state}")
        return
    waiting = [cell for cell in cells if cell.needs is None and not _has_ended(folder / cell.name)]
    for cell in {cell.options[1]: cell for cell in waiting}.values():  # one of each config
        check_options([*cell.options, *fit_options])
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder):
        failed = _Runs(cells, folder, fit_options, jobs).to_the_end()
    try:
        if any(_has_ended(folder / cell.name) for cell in cells):
            report([str(folder)], str(folder / "report"))
    except ValueError as error:
        print(f"no report: {error}")
    if failed:
        raise DistillError(
            f"{len(failed)} of {len(cells)} runs failed, the same command tries them again: {'; '.join(failed)}", code=1
        )


class _Runs:
    """A table's runs: those that wait, those that are running, and those that failed.

    Args:
        cells: All of the table.
        folder: Of their folders.
        options: Of all runs.
        jobs: How many run at a time.
    """

    def __init__(self, cells: Sequence[Cell], folder: Path, options: Sequence[str], jobs: int) -> None:
        self._folder, self._options, self._jobs = folder, options, jobs
        self._waiting = {f"[{number}/{len(cells)}] {cell.name}": cell for number, cell in enumerate(cells, 1)}
        self._running: dict[str, Run] = {}
        self._failed: list[str] = []
        self._environment = {**(threads_of(jobs) if jobs > 1 else {}), LINE_SECONDS_VARIABLE: RUN_LINE_SECONDS}
        self._console = Console(stderr=True, highlight=False)

    def to_the_end(self) -> list[str]:
        """Run all that has not ended; say why some failed."""
        try:
            with Signals(), Board(self._console, progress_only=True) as board:
                try:
                    while self._waiting or self._running:
                        self._fill()
                        board.show(self._running)
                        time.sleep(POLL_SECONDS)
                        self._clear()
                finally:
                    for run in self._running.values():
                        run.ask_to_stop()
                    for run in self._running.values():
                        run.stop()
        except Stopped as stop:
            names = ", ".join(run.name for run in self._running.values())
            where = f" in {names}" if names else ""
            raise DistillError(
                f"interrupted{where}; the same command goes on from the last checkpoint",
                code=stop.code,
            ) from stop
        return self._failed

    def _fill(self) -> None:
        """Start the next runs that wait for no other, as far as there is room."""
        for title, cell in list(self._waiting.items()):
            if _has_ended(self._folder / cell.name):
                self._say(f"{title}: has ended before")
            elif cell.needs and not _has_ended(self._folder / cell.needs):
                names = [each.name for each in self._waiting.values()] + [run.name for run in self._running.values()]
                if cell.needs in names:
                    continue
                self._failed.append(f"{cell.name} needs {cell.needs}")
            elif len(self._running) < self._jobs:
                self._running[title] = run = _run_of(cell, self._folder, self._options)
                _remember(cell, self._folder, self._options)
                self._say(f"{title}: {shlex.join(run.command)}")
                run.start(self._environment)
            else:
                return
            del self._waiting[title]

    def _clear(self) -> None:
        """Free the places of those that have ended, and say what they came to."""
        for title, run in list(self._running.items()):
            if run.running:
                continue
            del self._running[title]
            run.news()
            if run.code or not _has_ended(run.folder):
                self._failed.append(f"{run.name} ({run.reason})")
                self._say(f"{title}: failed, {run.log} says why")
            elif not is_online(run.folder):
                self._say(f"{title}: {_scored(run.folder)}")

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)


def _check_begun(cells: Sequence[Cell], folder: Path, options: Sequence[str]) -> None:
    """Refuse to take what other options have made for these cells."""
    begun = _begun_runs(folder)
    for cell in cells:
        if begun.get(cell.name, wanted := _that_matter(cell, options)) != wanted:
            options_then = shlex.join(begun[cell.name])
            raise DistillError(
                f"{folder / cell.name} was begun with other options, {options_then}; give another run_dir"
            )


def _begun_runs(folder: Path) -> dict[str, list[str]]:
    """Read with which options the runs of a folder were begun, by their names."""
    index = folder / RUNS_INDEX
    try:
        begun = json.loads(index.read_text()) if index.exists() else {}
        return {str(name): [str(option) for option in options] for name, options in begun.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DistillError(f"{index} is damaged ({error}); give another run_dir") from None


def _remember(cell: Cell, folder: Path, options: Sequence[str]) -> None:
    begun = {**_begun_runs(folder), cell.name: _that_matter(cell, options)}
    write_atomically(folder / RUNS_INDEX, (json.dumps(begun, indent=2) + "\n").encode())


def _that_matter(cell: Cell, options: Sequence[str]) -> list[str]:
    """List a run's options but for where it finds its configs and its teachers' play.

    A config that does not come along is named by its content, too.
    """
    found = [*cell.options, *options]
    pairs = list(itertools.pairwise(["", *found]))
    return [
        _config_name(Path(option)) if before == "--config" else option
        for before, option in pairs
        if "--data.store" not in (before, option)
    ]


def _config_name(config: Path) -> str:
    if not config.is_file() or config.resolve().is_relative_to(CONF.resolve()):
        return config.name
    return f"{config.name} of SHA-256 {hashlib.sha256(config.read_bytes()).hexdigest()[:16]}"


def _has_ended(run: Path) -> bool:
    return (run / "scores.json").is_file()


def _run_of(cell: Cell, folder: Path, options: Sequence[str]) -> Run:
    resuming = ("--ckpt_path", RESUME_LAST) if (folder / cell.name).is_dir() else ()
    return Run(cell.name, folder, [*cell.options, *options, *resuming])


def _scored(run: Path) -> str:
    """Describe what a run came to."""
    said = []
    for result in read_results(run):
        beside = f", its teacher {points(result.teacher['mean'])}" if result.teacher else ""
        said.append(f"{result.game} {points(result.own['mean'])} ({interval(tuple(result.own['interval95']))}){beside}")
    return "; ".join(said)
