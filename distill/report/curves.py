"""A learning teacher and its students, hour by hour: scores, how steady they are, and the paper's figure 5 of them."""

import csv
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from distill.errors import DistillError
from distill.files.store import write_atomically
from distill.report.figures import LIGHT, Theme, picture
from distill.report.page import Grid, Section, print_grid, write_csv
from distill.report.published import GAME_NAMES
from distill.report.results import is_learning_teacher, load_config
from distill.runs.folder import run_folders
from distill.weights.best import read_index

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Curves:
    """Mean scores after simulated hours."""

    game: str
    dqn: dict[int, float]
    """The learning teacher's."""
    students: dict[str, dict[int, float]]
    """Each student's, by the name of its run's folder."""
    swaps: tuple[int, ...]
    """After which hours another network of the teacher's took over the labelling."""

    def columns(self) -> dict[str, dict[int, float]]:
        """Name all curves, the best score so far among them."""
        return {"dqn": self.dqn, "best": running_best(self.dqn), **self.students}


def running_best(scores: Mapping[int, float]) -> dict[int, float]:
    """Return the best score up to each hour."""
    best, found = -math.inf, {}
    for hour in sorted(scores):
        best = found[hour] = max(best, scores[hour])
    return found


def unsteadiness(scores: Mapping[int, float]) -> float:
    """Return how far scores fall behind their own running best: the root of the mean square, in points.

    It is 0 for scores that never fall.
    """
    best = running_best(scores)
    return math.sqrt(sum((best[hour] - score) ** 2 for hour, score in scores.items()) / len(scores))


def read_curves(folders: Sequence[Path]) -> Curves:
    """Read the runs of a learning teacher and its students, as far as they are.

    Args:
        folders: Of the runs, in any order; or one that holds all of them.

    Raises:
        ValueError: where there is not one teacher and at least one student of its game, each with scores.
    """
    runs = run_folders(folders)
    teachers = [run for run in runs if is_learning_teacher(run)]
    if len(teachers) != 1:
        raise DistillError(f"there must be one run of a teacher that keeps its best networks, not {len(teachers)}")
    index = read_index(teachers[0])
    assert index is not None  # by it a teacher's run is told
    students, swaps = {}, set()
    others = sorted(set(runs) - set(teachers))
    names = {run.name for run in others}
    parent = Path(os.path.commonpath([run.resolve() for run in others])) if len(names) < len(others) else None
    for run in others:
        data = load_config(run).data.init_args
        if data.game != index.game:
            raise DistillError(f"{run} is a student of {data.game}, {teachers[0]} a teacher of {index.game}")
        rows = _metrics(run)
        scores = {
            int(row["step"]) // data.updates_per_hour: float(row["val/score"]) for row in rows if row.get("val/score")
        }
        labellers = {
            _hour(row, data.updates_per_hour): float(row["online/teachers_hour"])
            for row in rows
            if row.get("online/teachers_hour")
        }
        if not scores or not labellers:
            raise DistillError(f"{run} has no scores of a student that follows a teacher")
        students[run.name if parent is None else str(run.resolve().relative_to(parent))] = scores
        swaps |= {hour - 1 for hour, who in labellers.items() if who != labellers.get(hour - 1, who)}
    if not students:
        raise DistillError(f"there must be the run of a student beside {teachers[0]}")
    return Curves(index.game, dict(index.scores), students, tuple(sorted(swaps)))


def pairs_of(runs: Sequence[Path]) -> list[list[Path]]:
    """Put each learning teacher and its students together: those that name it, or lie beside it.

    Args:
        runs: Folders of learning teachers' and their students' runs. With one teacher all belong to it.
    """
    teachers = [run for run in runs if is_learning_teacher(run)]
    if len(teachers) <= 1:
        return [list(runs)] if runs else []
    students = {run: load_config(run).data.init_args.teacher for run in runs if run not in teachers}

    def follows(run: Path, teacher: Path) -> bool:
        return Path(students[run]).resolve() == teacher.resolve() or run.resolve().parent == teacher.resolve().parent

    return [[teacher, *(run for run in students if follows(run, teacher))] for teacher in teachers]


def draw_curves(runs: Sequence[Path], out: Path) -> None:
    """Draw a learning teacher and the students of its best network so far, as figure 5 of the paper does.

    Prints for each how steady it was.

    Args:
        runs: As for `read_curves`.
        out: The PNG file; the numbers go into a CSV file beside it.

    Raises:
        ValueError: as `read_curves`.
    """
    curves = read_curves(runs)
    section = section_of(curves)
    write_csv(out.with_suffix(".csv"), section.csv)
    write_atomically(out, _drawn_curves(curves, LIGHT))
    print_grid(section.grids[0])
    print(f"figure: {out}, {out.with_suffix('.csv')}")


def section_of(curves: Curves, name: str = "figure5") -> Section:
    """Lay out figure 5, its numbers, and how steady each was.

    Args:
        curves: What to show.
        name: Of the files.
    """
    columns = curves.columns()
    rows = [
        {
            "hour": hour,
            **{name: scores.get(hour) for name, scores in columns.items()},
            "swap": int(hour in curves.swaps),
        }
        for hour in sorted(set().union(*columns.values()))
    ]
    game = GAME_NAMES.get(curves.game, curves.game)
    return Section(
        name,
        f"Figure 5: a learning teacher and its students, {game}",
        [
            "The teacher is a DQN; after each hour its best network so far labels what its students learn from. Below"
            " its running best: the root of the mean square, in points; 0 is a curve that never falls.",
            "The paper's finding, on Q*bert, Pong and Breakout, two students each: far steadier than the DQN, at a"
            " similar or equal score. It prints curves, no numbers.",
        ],
        [steadiness(curves)],
        rows,
        lambda theme: _drawn_curves(curves, theme),
        f"{name}.png",
        f"{game}: scores of a DQN and of students of its best network so far, by simulated hour",
    )


def steadiness(curves: Curves) -> Grid:
    """Describe how steady each was, and where it ended, over the hours in which all were scored.

    Raises:
        ValueError: where there is no such hour.
    """
    columns = curves.columns()
    hours = set.intersection(*(set(scores) for scores in columns.values()))
    if not hours:
        raise DistillError("there is no hour after which the teacher and all students were scored; let the runs go on")
    rows = []
    for name in ("dqn", *curves.students):
        scores = {hour: columns[name][hour] for hour in hours}
        last = scores[max(hours)]
        rows.append((name, f"{max(scores.values()):.1f}", f"{last:.1f}", f"{unsteadiness(scores):.2f}"))
    header = ("", "best score", "last score", "below its own running best")
    return Grid(f"{curves.game}, hours {min(hours)} to {max(hours)}", header, rows)


def _metrics(run: Path) -> list[dict[str, str]]:
    try:
        with (run / "metrics.csv").open() as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise DistillError(f"{run} has no metrics.csv") from None


def _hour(row: Mapping[str, str], updates_per_hour: int) -> int:
    """Return the hours after which a row was written; one with an epoch is of an older run, which counted blocks."""
    return int(row["epoch"]) + 1 if row.get("epoch") else int(row["step"]) // updates_per_hour


def _drawn_curves(curves: Curves, theme: Theme) -> bytes:
    def draw(axes: "Axes") -> None:
        for number, hour in enumerate(curves.swaps):
            label = "" if number else "swap"
            axes.axvline(hour, color=theme.soft, linewidth=0.6, alpha=0.5, label=label, zorder=0)
        axes.plot(*zip(*sorted(curves.dqn.items()), strict=True), color=theme.soft, linewidth=1.5, label="DQN")
        best = zip(*running_best(curves.dqn).items(), strict=True)
        axes.step(*best, where="post", color=theme.ink, linewidth=1.2, linestyle=":", label="its best so far")
        for number, (name, scores) in enumerate(curves.students.items()):
            color = theme.colors[number % len(theme.colors)]
            axes.plot(*zip(*sorted(scores.items()), strict=True), color=color, linewidth=1.8, label=name)
        axes.set(xlabel="simulated hours", ylabel="mean score", title=f"{curves.game}: a DQN, and students of its best")
        axes.legend()

    return picture(theme, draw)
