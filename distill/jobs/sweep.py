"""`python -m distill sweep FILE`: a sweep's file of Weights & Biases, run here, one run of `fit` after another."""

import importlib.util
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from distill import checks
from distill.console import configs
from distill.errors import DistillError
from distill.files.store import write_atomically
from distill.jobs.scheduler import Job, Scheduler, check_fit_options
from distill.jobs.sweep_file import Point, Points, Sweep, read_sweep
from distill.jobs.sweep_results import SweepRow, as_csv, as_png, print_results, rows_of
from distill.runs.folder import RUN_DIR_VARIABLE, alone_in, claim

SWEEP_INDEX = "sweep.json"


def sweep(
    file: str,
    count: int | None = None,
    seed: int = 0,
    run_dir: str | None = None,
    jobs: int = 1,
    fit_options: Sequence[str] = (),
) -> None:
    """Run a sweep's file of Weights & Biases here, without an account: one run of `fit` for each point.

    All share one play of their teacher. What they log to Weights & Biases stays here, unless WANDB_MODE says otherwise.
    The same command with the same `run_dir` goes on where it stopped. It ends with a table, and a figure of the scores.

    Args:
        file: The sweep's file, or the name of one that comes along, `sweep/temperature`; methods `grid` and `random`,
            and `bayes` where the package sweeps is installed.
        count: How many points at most, 1 or more; by default the file's `run_cap`, or the whole grid.
        seed: Of the points that are drawn, 0 or more.
        run_dir: Folder of the sweep; default `runs/sweep-<name>/<number>`.
        jobs: How many runs at a time, each with its share of the threads; of a search 1.
        fit_options: What comes after `--fit.`, for all runs: `--fit.trainer.max_epochs 3`.

    Raises:
        ValueError: for a file that is no sweep, for a point that `fit` would refuse, and for a folder that is in use.
    """
    checks.at_least(0, seed=seed)
    checks.at_least(1, count=1 if count is None else count, jobs=jobs)
    what = read_sweep(Path(configs.find_config(file)))
    points = Points(what, count, seed)
    if what.method == "bayes" and jobs > 1:
        raise DistillError(f"jobs is {jobs}; with method bayes, whose points depend on those before, it must be 1")
    if "early_terminate" in what.content:
        print("early_terminate is left to W&B: here every run goes to its end")
    options = [*fit_options]
    if "wandb" in " ".join(what.options) and importlib.util.find_spec("wandb") is None:
        print("wandb is not installed: runs log to their metrics.csv alone")
        options += ["--trainer.logger=null"]
    known = points.known()
    wholes = [check_fit_options(what.options_of(point, options)) for point in known]
    begun = run_dir is not None and (Path(run_dir) / SWEEP_INDEX).is_file()
    folder = claim(f"sweep-{what.name}", run_dir, resuming=begun)
    os.environ.pop(RUN_DIR_VARIABLE)
    shared = [] if wholes[0]["data"]["init_args"].get("store") else ["--data.store", str(folder / "hours")]
    again = ["--run_dir", str(folder), "--seed", str(seed), *(["--count", str(count)] if count else [])]
    again += ["--jobs", str(jobs)] if jobs > 1 else []
    again += [f"--fit.{option[2:]}" if option.startswith("--") else option for option in fit_options]
    command = f"python -m distill sweep {shlex.join([file, *again])}"
    made_as = {"sweep": what.content, "seed": seed, "fit": list(fit_options)}

    def each_job() -> Iterator[Job]:
        for number, point in enumerate(points.each(lambda number: _scores_in(folder / str(number)))):
            if number >= len(known):
                check_fit_options(what.options_of(point, options))
                write_atomically(folder / SWEEP_INDEX, _packed({**made_as, "points": points.made}))
            differs = " ".join(f"{name}={point[name]}" for name in what.varied or point)
            yield Job(str(number), tuple(what.options_of(point, [*options, *shared])), differs=differs)

    # A search is one command's; the runs of all others may be divided among several.
    with alone_in(folder) if what.method == "bayes" else nullcontext():
        points.resume(_begun(folder, made_as))
        print(f"run: {folder}", flush=True)
        environment = {"WANDB_MODE": os.environ.get("WANDB_MODE", "offline")}
        how = f"go on with: {command}"
        scheduler = Scheduler(folder, how, total=points.total, at_a_time=jobs, environment=environment)
        scheduler.run(each_job())
        _report(what, points.made, folder)
    scheduler.check()


def _report(what: Sweep, points: Sequence[Point], folder: Path) -> None:
    """Print the table, and write the figure and its numbers."""
    rows: list[SweepRow] = []
    for number, point in enumerate(points):
        scores = _scores_in(folder / str(number))
        if scores is not None:
            rows += rows_of(str(number), point, scores)
    if not rows:
        return
    print_results(f"sweep {what.name}", what.varied, rows)
    figure = folder / "sweep.png"
    write_atomically(figure.with_suffix(".csv"), as_csv(rows).encode())
    write_atomically(figure, as_png(what.name, what.varied, rows, grid=what.method == "grid"))
    print(f"figure: {figure}, {figure.with_suffix('.csv')}")


def _scores_in(run: Path) -> dict[str, Any] | None:
    file = run / "scores.json"
    return _read(file) if file.is_file() else None


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise DistillError(f"{file} is damaged ({error}); remove it to have it made again") from error


def _begun(folder: Path, made_as: Mapping[str, Any]) -> list[Point]:
    """Return the points that the folder's sweep has made before."""
    index = folder / SWEEP_INDEX
    if not index.is_file():
        write_atomically(index, _packed({**made_as, "points": []}))
        return []
    found = _read(index)
    for name, value in json.loads(_packed(made_as)).items():
        if found.get(name) != value:
            raise DistillError(f"{folder} was begun with another {name}; give this sweep a new folder")
    if not isinstance(found.get("points"), list):
        raise DistillError(f"{index} is damaged (it has no points); give this sweep a new folder")
    return found["points"]


def _packed(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, default=str) + "\n").encode()
