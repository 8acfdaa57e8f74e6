"""A learning teacher and its students, hour by hour: scores, how steady they are, and the paper's figure 5 of them."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from distill.best import FOLDER, INDEX, read_index
from distill.store import write_atomically

SIZE_INCHES = (8.0, 4.5)
DOTS_PER_INCH = 150
STUDENTS = ("#d1495b", "#edae49", "#66a182", "#8d5b9f")


@dataclass(frozen=True)
class Curves:
    """Mean scores after simulated hours."""

    game: str
    dqn: dict[int, float]
    """The learning teacher's."""
    students: dict[str, dict[int, float]]
    """Each student's, by the name of its run."""
    swaps: tuple[int, ...]
    """After which hours another network of the teacher's took over the labelling."""

    def columns(self) -> dict[str, dict[int, float]]:
        """Name all curves, the best score so far among them."""
        return {"dqn": self.dqn, "best": running_best(self.dqn), **self.students}


def running_best(scores: Mapping[int, float]) -> dict[int, float]:
    """Give the best score up to each hour."""
    best, found = -math.inf, {}
    for hour in sorted(scores):
        best = found[hour] = max(best, scores[hour])
    return found


def unsteadiness(scores: Mapping[int, float]) -> float:
    """Say how far scores fall behind their own running best: the root of the mean square, in points.

    It is 0 for scores that never fall.
    """
    best = running_best(scores)
    return math.sqrt(sum((best[hour] - score) ** 2 for hour, score in scores.items()) / len(scores))


def read_curves(folders: Sequence[Path]) -> Curves:
    """Read the runs of a learning teacher and its students.

    Args:
        folders: Of the runs, in any order; or one that holds all of them.

    Raises:
        ValueError: where there is not one teacher and at least one student of its game, each with scores.
    """
    runs = [run for folder in folders for run in _runs_in(folder)]
    teachers = [run for run in runs if (run / FOLDER / INDEX).is_file()]
    if len(teachers) != 1:
        raise ValueError(f"there must be one run of a teacher that keeps its best networks, not {len(teachers)}")
    index = read_index(teachers[0])
    students, swaps = {}, set()
    for run in sorted(set(runs) - set(teachers)):
        game = _game_of(run)
        if game != index.game:
            raise ValueError(f"{run} is a student of {game}, {teachers[0]} a teacher of {index.game}")
        rows, updates_per_hour = _metrics(run), _updates_per_hour(run)
        scores = {int(row["step"]) // updates_per_hour: float(row["val/score"]) for row in rows if row.get("val/score")}
        labellers = {
            int(row["epoch"]) + 1: float(row["online/teachers_hour"]) for row in rows if row.get("online/teachers_hour")
        }
        if not scores or not labellers:
            raise ValueError(f"{run} has no scores of a student that follows a teacher")
        students[run.name] = scores
        swaps |= {hour - 1 for hour, who in labellers.items() if who != labellers.get(hour - 1, who)}
    if not students:
        raise ValueError(f"there must be the run of a student beside {teachers[0]}")
    return Curves(index.game, dict(index.scores), students, tuple(sorted(swaps)))


def write_figure(curves: Curves, out: Path) -> None:
    """Write a figure as PNG, and its numbers as CSV beside it.

    Args:
        curves: What to draw.
        out: The PNG file.
    """
    write_atomically(out.with_suffix(".csv"), _as_csv(curves).encode())
    write_atomically(out, _as_png(curves))


def print_steadiness(curves: Curves) -> None:
    """Print how steady each was, and where it ended, over the hours in which all were scored."""
    columns = curves.columns()
    hours = set.intersection(*(set(scores) for scores in columns.values()))
    table = Table(title=f"{curves.game}, hours {min(hours)} to {max(hours)}")
    for name in ("", "best score", "last score", "below its own running best"):
        table.add_column(name, justify="right" if name else "left")
    for name in ("dqn", *curves.students):
        scores = {hour: columns[name][hour] for hour in hours}
        last = scores[max(hours)]
        table.add_row(name, f"{max(scores.values()):.1f}", f"{last:.1f}", f"{unsteadiness(scores):.2f}")
    Console(highlight=False).print(table)


def _runs_in(folder: Path) -> list[Path]:
    if (folder / "config.yaml").is_file():
        return [folder]
    inside = sorted(path.parent for path in folder.glob("*/config.yaml"))
    if not inside:
        raise ValueError(f"{folder} is no run's folder, and holds none")
    return inside


def _game_of(run: Path) -> str:
    try:
        return str(json.loads((run / "scores.json").read_text())["game"])
    except FileNotFoundError:
        raise ValueError(f"{run} has no scores.json; let the run end") from None


def _metrics(run: Path) -> list[dict[str, str]]:
    try:
        with (run / "metrics.csv").open() as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise ValueError(f"{run} has no metrics.csv") from None


def _updates_per_hour(run: Path) -> int:
    return int(OmegaConf.load(run / "config.yaml").data.init_args.updates_per_hour)


def _as_csv(curves: Curves) -> str:
    columns = curves.columns()
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["hour", *columns, "swap"])
    for hour in sorted(set().union(*columns.values())):
        rows.writerow([hour, *(scores.get(hour, "") for scores in columns.values()), int(hour in curves.swaps)])
    return text.getvalue()


def _as_png(curves: Curves) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    for number, hour in enumerate(curves.swaps):
        axes.axvline(hour, color="0.85", linewidth=0.8, label="" if number else "another labels", zorder=0)
    axes.plot(*zip(*sorted(curves.dqn.items()), strict=True), color="#9ecae1", linewidth=1.5, label="DQN")
    best = running_best(curves.dqn)
    axes.step(
        *zip(*best.items(), strict=True), where="post", color="0.25", linewidth=1.2, linestyle=":", label="its best"
    )
    for number, (name, scores) in enumerate(curves.students.items()):
        color = STUDENTS[number % len(STUDENTS)]
        axes.plot(*zip(*sorted(scores.items()), strict=True), color=color, linewidth=1.8, label=name)
    axes.set(xlabel="simulated hours", ylabel="mean score", title=f"{curves.game}: a DQN, and students of its best")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DOTS_PER_INCH)
    return picture.getvalue()


def report(runs: list[str], out: str = "figure5.png") -> None:
    """Draw a learning teacher and the students of its best network so far, as figure 5 of the paper does.

    Prints for each how steady it was: the root of the mean square by which its scores are below their running best.

    Args:
        runs: Their folders in any order, or the folder that `online` made.
        out: The PNG file; the numbers go into a CSV file beside it.

    Raises:
        ValueError: as `read_curves`, and for a file that is no PNG.
    """
    if Path(out).suffix != ".png":
        raise ValueError(f"out is {out}; it must end in .png")
    curves = read_curves([Path(run) for run in runs])
    write_figure(curves, Path(out))
    print_steadiness(curves)
    print(f"figure: {out}, {Path(out).with_suffix('.csv')}")
