"""`python -m distill status`: a line for each run, from what its folder holds."""

import csv
import json as json_format
import shlex
from pathlib import Path
from typing import Any

import yaml

from distill.errors import DistillError
from distill.runs.folder import CONFIG, STOPPED, run_folders, runs_by
from distill.runs.status import clock

SHOWN = {"val/score": "score {:.1f}", "train/agreement": "agreement {:.1%}", "play/score": "play {:.1f}"}
"""Of the metrics, how those are shown that a run has."""


def status(runs: list[str] = ["runs"], /, *, json: bool = False) -> list[dict[str, Any]]:  # noqa: B006
    """Print a line for each run: whether it runs, has ended, or was stopped and why; how far it is, and its score.

    Args:
        runs: Folders of runs, or folders that hold some.
        json: Whether to print JSON, a list, instead.

    Returns:
        What is printed, by run.

    Raises:
        ValueError: for a folder that is missing, or holds no run.
    """
    found = [state_of(run) for run in run_folders([Path(name) for name in runs])]
    if json:
        print(json_format.dumps(found, indent=2))
    else:
        for state in found:
            print(line_of(state))
    return found


def state_of(run: Path) -> dict[str, Any]:
    """Read how far a run is.

    Raises:
        ValueError: for a config that is none.
    """
    try:
        config = yaml.safe_load((run / CONFIG).read_text())
        hours, per_hour = config["trainer"]["max_epochs"], config["data"]["init_args"]["updates_per_hour"]
    except (OSError, yaml.YAMLError, TypeError, LookupError) as error:
        raise DistillError(f"{run / CONFIG} is no run's config ({str(error).splitlines()[0]})") from error
    rows = _rows_in(run / "metrics.csv")
    latest: dict[str, float] = {}
    for row in rows:
        latest |= {name: float(value) for name, value in row.items() if value}
    hour = latest.get("step", 0) / per_hour
    by, stopped = runs_by(run), run / STOPPED
    reason = stopped.read_text().strip() if stopped.is_file() else ""
    if by is not None:
        state = "running"
    elif (run / "scores.json").is_file() and not reason:
        state = "ended"
    else:
        state = "interrupted" if not reason or reason.startswith("interrupted") else "failed"
    found: dict[str, Any] = {"run": str(run), "state": state, "hour": round(hour, 2), "hours": hours}
    if by is not None:
        found["by"] = by
    if state == "failed":
        found["reason"] = reason
    found |= {name: latest[name] for name in SHOWN if name in latest}
    rate = latest.get("updates_per_second")
    if rate and state == "running":
        found["updates_per_second"] = rate
        if hours and hours > 0 and hour and latest.get("seconds"):
            found["seconds_left"] = round(latest["seconds"] / hour * max(0.0, hours - hour))
    if state in ("interrupted", "failed"):
        found["resume"] = f"python -m distill fit --resume {shlex.quote(str(run))}"
    return found


def _rows_in(path: Path) -> list[dict[str, str]]:
    try:
        with path.open() as file:
            return list(csv.DictReader(file))
    except OSError:
        return []


def line_of(state: dict[str, Any]) -> str:
    """Write what is known of a run as a line."""
    of = f"/{state['hours']}" if (state["hours"] or 0) > 0 else ""
    said = [f"{state['run']}: {state['state']}", f"hour {state['hour']:g}{of}"]
    said += [shown.format(state[name]) for name, shown in SHOWN.items() if name in state]
    if "updates_per_second" in state:
        said.append(f"{state['updates_per_second']:.0f} updates/s")
    if "seconds_left" in state:
        said.append(f"{clock(state['seconds_left'])} left")
    if "by" in state:
        said.append(f"process {state['by']}")
    said += [state[name] for name in ("reason", "resume") if name in state]
    return " \u00b7 ".join(said)
