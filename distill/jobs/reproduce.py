"""`python -m distill reproduce`: the paper's tables from our own runs, one or more of them at a time."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from distill import checks
from distill.errors import DistillError
from distill.jobs.experiments import Plan, TableName, planned_jobs
from distill.jobs.scheduler import Scheduler, check_begun, check_fit_options, command_of, has_ended
from distill.report.command import report
from distill.report.published import GAME_NAMES


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
    fit_options: Sequence[str] = (),
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

    Raises:
        ValueError: for no seed or one twice, for games that are none of the paper's or have no run in the table, for a
            folder whose runs were begun with other options.
    """
    checks.at_least(1, hours=hours, jobs=jobs)
    checks.at_least(0, **{f"seeds[{place}]": seed for place, seed in enumerate(seeds)})
    if not seeds or len(set(seeds)) < len(seeds):
        raise DistillError(f"seeds is {seeds}; there must be one at least, and none twice")
    if games == []:
        raise DistillError("games is []; there must be one at least, or null for all")
    checks.one_of(GAME_NAMES, **{f"games[{place}]": game for place, game in enumerate(games or ())})
    folder = Path(run_dir or f"runs/paper/hours{hours}")
    planned, missing = planned_jobs(table, Plan(hours, store, folder, tuple(games or GAME_NAMES)), seeds)
    if not planned:
        raise DistillError(
            f"{table} has no run of {', '.join(games or missing)} alone; give more games, or none for all"
        )
    if missing:
        print(f"left out, for no teacher is shipped: {', '.join(missing)}")
    jobs_of = [job._replace(options=(*job.options, *fit_options)) for job in planned]
    check_begun(jobs_of, folder)
    if dry_run:
        for job in jobs_of:
            ended = has_ended(folder / job.name)
            print(f"{job.name}: {'has ended' if ended else shlex.join(command_of(job, folder))}")
        return
    waiting = [job for job in jobs_of if job.needs is None and not has_ended(folder / job.name)]
    for job in {job.options[1]: job for job in waiting}.values():  # one of each config
        check_fit_options(job.options)
    scheduler = Scheduler(folder, "the same command goes on", total=len(jobs_of), at_a_time=jobs)
    scheduler.run(jobs_of)
    try:
        if any(has_ended(folder / job.name) for job in jobs_of):
            report([str(folder)], str(folder / "report"))
    except ValueError as error:
        print(f"no report: {error}")
    scheduler.check()
