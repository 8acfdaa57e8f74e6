"""`python -m distill reproduce`: the paper's tables from our own runs, one run after the other."""

import shlex
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console

from distill import checks
from distill.console.mistakes import fail
from distill.paper.experiments import Cell, Plan, TableName, cells_of
from distill.paper.page import interval, points
from distill.paper.published import GAME_NAMES
from distill.paper.report import report
from distill.paper.results import is_online, read_results
from distill.runs.folder import LAST, alone_in
from distill.runs.process import LINE_SECONDS_VARIABLE, POLL_SECONDS, Forwarded, Run
from distill.runs.stopping import Signals, Stopped

PROGRESS = ("play", "learn")
"""How the lines begin in which a run says how far it is."""
LINE_SECONDS = 10
"""How often a run says how far it is."""


def reproduce(
    table: TableName = "all",
    /,
    *,
    hours: int = 5,
    seeds: list[int] = [0],  # noqa: B006
    games: list[str] | None = None,
    run_dir: str | None = None,
    store: str = "runs/paper/play",
    dry_run: bool = False,
    fit_options: Forwarded = (),
) -> None:
    """Run the paper's experiments one after the other, and report them beside the paper's numbers.

    What has ended is not run again; what was interrupted goes on. Games without a shipped teacher are left out.

    Args:
        table: Which of the paper's tables; `all` means every run of any of them once.
        hours: Of play that each student sees of each game, simulated hours, 1 or more; the paper's are 500 for one
            game, 500 for three together, and 34,000 for ten together. Figure 5 takes four times as many.
        seeds: One run of each experiment for each.
        games: Which of the paper's ten; by default all. What takes several at once is run where all of its are among
            them, table 2 with those that are.
        run_dir: Folder of the runs; default `runs/paper/hours<N>`. The report is in its `report`.
        store: Folder of the teachers' play, shared by all runs.
        dry_run: Whether to print the commands, and run nothing.
        fit_options: What comes after `--fit.`: options of all runs, e.g. `--fit.trainer.accelerator gpu`.

    Raises:
        ValueError: for no seed or one twice, for games that are none of the paper's or have no run in the table, and
            while another command runs in that folder.
    """
    checks.at_least(1, hours=hours)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds is {seeds}; there must be one at least, and none twice")
    checks.one_of(GAME_NAMES, **{f"games[{place}]": game for place, game in enumerate(games or ())})
    folder = Path(run_dir or f"runs/paper/hours{hours}")
    cells, missing = cells_of(table, Plan(hours, store, folder, tuple(games or GAME_NAMES)), seeds)
    if not cells:
        raise ValueError(f"{table} has no run of {', '.join(games or missing)} alone; give more games, or none for all")
    if missing:
        print(f"left out, for no teacher is shipped: {', '.join(missing)}")
    if dry_run:
        for cell in cells:
            state = (
                "has ended" if _ended(folder / cell.name) else shlex.join(_run_of(cell, folder, fit_options).command)
            )
            print(f"{cell.name}: {state}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder):
        failed = _run_all(cells, folder, fit_options)
    done = [str(folder / cell.name) for cell in cells if _ended(folder / cell.name)]
    try:
        if done:
            report(done, str(folder / "report"))
    except ValueError as error:
        print(f"no report: {error}")
    if failed:
        fail(
            f"{len(failed)} of {len(cells)} runs failed, the same command tries them again: {'; '.join(failed)}", code=1
        )


def _run_all(cells: Sequence[Cell], folder: Path, options: Sequence[str]) -> list[str]:
    """Run all that has not ended; say why some failed."""
    console = Console(stderr=True, highlight=False)
    failed: list[str] = []
    for number, cell in enumerate(cells, 1):
        title = f"[{number}/{len(cells)}] {cell.name}"
        if _ended(folder / cell.name):
            console.print(f"{title}: has ended before", markup=False)
            continue
        if cell.needs and not _ended(folder / cell.needs):
            failed.append(f"{cell.name} needs {cell.needs}")
            continue
        run = _run_of(cell, folder, options)
        console.print(f"{title}: {shlex.join(run.command)}", markup=False, soft_wrap=True)
        try:
            with Signals():
                try:
                    _attend(run, title, console)
                finally:
                    run.ask_to_stop()
                    run.stop()
        except Stopped as stop:
            fail(f"interrupted in {cell.name}; the same command goes on from its last checkpoint", code=stop.code)
        if run.code or not _ended(run.folder):
            failed.append(f"{cell.name} ({run.last.removeprefix('error: ')})")
            console.print(f"{title}: failed, {run.log} says why", markup=False, soft_wrap=True)
        elif not is_online(run.folder):
            console.print(f"{title}: {_scored(run.folder)}", markup=False, soft_wrap=True)
    return failed


def _ended(run: Path) -> bool:
    return (run / "scores.json").is_file()


def _run_of(cell: Cell, folder: Path, options: Sequence[str]) -> Run:
    resuming = ("--ckpt_path", LAST) if (folder / cell.name).is_dir() else ()
    return Run(cell.name, folder, [*cell.options, *options, *resuming])


def _attend(run: Run, title: str, console: Console) -> None:
    """Wait until a run has ended, and show what it says."""
    run.start({LINE_SECONDS_VARIABLE: str(LINE_SECONDS)})
    shown = console.status(title) if console.is_terminal else None
    with shown or nullcontext():
        while True:
            over = not run.running
            for line in run.news():
                if shown is None and line.startswith(PROGRESS):
                    console.print(f"{title}: {line}", markup=False, soft_wrap=True)
                elif shown is not None:
                    shown.update(f"{title.replace('[', '(').replace(']', ')')}  {run.last}")
            if over:
                return
            time.sleep(POLL_SECONDS)


def _scored(run: Path) -> str:
    """Say what a run came to."""
    said = []
    for result in read_results(run):
        beside = f", its teacher {points(result.teacher['mean'])}" if result.teacher else ""
        said.append(f"{result.game} {points(result.own['mean'])} ({interval(tuple(result.own['interval95']))}){beside}")
    return "; ".join(said)
