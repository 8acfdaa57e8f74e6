"""What a sweep comes to: a table, its numbers as CSV, and a figure of score against what was varied."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.table import Table

from distill.report.figures import DOTS_PER_INCH, LIGHT
from distill.runs.scores import games_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_INCHES = (6.4, 4.4)
LOGARITHMIC_FROM = 8
"""Ratio of the largest and the smallest value from which an axis is logarithmic."""
FEW_VALUES = 10
"""So many at most are written at an axis."""


class SweepRow(NamedTuple):
    """What a finished run scored in one game."""

    run: str
    point: Mapping[str, Any]
    """Its value of each parameter."""
    game: str
    score: float
    interval95: tuple[float, float]
    episodes: int
    teacher: Mapping[str, Any] | None
    """Its teacher's score, as in `scores.json`."""
    ratio: float | None
    random_adjusted_ratio: float | None


def rows_of(run: str, point: Mapping[str, Any], scores: Mapping[str, Any]) -> list[SweepRow]:
    """Read what a run scored.

    Args:
        run: Its name.
        point: Its value of each parameter.
        scores: What its `scores.json` holds.
    """
    rows = []
    for game, of in games_of(scores).items():
        own, teacher = (of["student"], of.get("teacher")) if "student" in of else (of["teacher"], None)
        summary = (own["mean"], tuple(own["interval95"]), own["episodes"])
        rows.append(SweepRow(run, point, game, *summary, teacher, of.get("ratio"), of.get("random_adjusted_ratio")))
    return rows


def short(name: str) -> str:
    """Shorten an option to its last part: `model.temperature` to `temperature`."""
    return name.rpartition(".")[2]


def print_results(title: str, varied: Sequence[str], rows: Sequence[SweepRow]) -> None:
    """Print a table, a line for each run and game.

    Args:
        title: Above it.
        varied: Parameters that differ among runs.
        rows: What was scored.
    """
    several = len({row.game for row in rows}) > 1
    table = Table(title=title)
    for name in ("run", *map(short, varied), *(("game",) if several else ())):
        table.add_column(name)
    for name in ("score", "95% interval", "its teacher's", "share above random"):
        table.add_column(name, justify="right")
    for row in rows:
        what = [row.run, *(_written(row.point[name]) for name in varied), *([row.game] if several else [])]
        teacher = "-" if row.teacher is None else f"{row.teacher['mean']:.1f}"
        share = "-" if row.random_adjusted_ratio is None else f"{row.random_adjusted_ratio:.1%}"
        table.add_row(*what, f"{row.score:.1f}", "{:.1f} to {:.1f}".format(*row.interval95), teacher, share)
    Console(highlight=False).print(table)


def as_csv(rows: Sequence[SweepRow]) -> str:
    """Write all numbers, a line for each run and game."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    numbers = ("score", "low", "high", "episodes", "teacher", "teacher_low", "teacher_high")
    parameters = list(rows[0].point)
    lines.writerow(["run", *parameters, "game", *numbers, "ratio", "random_adjusted_ratio"])
    for row in rows:
        teacher = ("", "", "") if row.teacher is None else (row.teacher["mean"], *row.teacher["interval95"])
        what = [row.run, *(row.point[name] for name in parameters), row.game]
        lines.writerow(
            [*what, row.score, *row.interval95, row.episodes, *teacher, row.ratio, row.random_adjusted_ratio]
        )
    return text.getvalue()


def as_png(title: str, varied: Sequence[str], rows: Sequence[SweepRow], *, grid: bool) -> bytes:
    """Draw scores with their intervals, beside the teacher's; a panel for each game.

    Args:
        title: Above it.
        varied: Parameters that differ among runs.
        rows: What was scored.
        grid: Whether each value of a parameter meets each of the others: then one is the axis, and the others are
            series. Otherwise there is a panel for each parameter.
    """
    from matplotlib.figure import Figure

    across = [_axis(varied, rows)] if grid or not varied else list(varied)
    games = list(dict.fromkeys(row.game for row in rows))
    size = PANEL_INCHES[0] * len(across), PANEL_INCHES[1] * len(games)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(games), len(across), squeeze=False)
    for game, line in zip(games, panels, strict=True):
        for name, axes in zip(across, line, strict=True):
            of_game = [row for row in rows if row.game == game]
            others = [other for other in varied if other != name] if grid else []
            _draw(axes, name, others, of_game, joined=grid)
            axes.set_title(f"{title}: {game}")
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DOTS_PER_INCH)
    return picture.getvalue()


def _axis(varied: Sequence[str], rows: Sequence[SweepRow]) -> str:
    """Choose what to draw scores against: a number rather than a name, and the seed last of all."""
    names = varied or list(rows[0].point)
    return min(names, key=lambda name: (name == "seed_everything", not _is_numeric(name, rows)))


def _is_numeric(name: str, rows: Sequence[SweepRow]) -> bool:
    values = [row.point[name] for row in rows]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _draw(axes: "Axes", name: str, others: Sequence[str], rows: Sequence[SweepRow], *, joined: bool) -> None:
    series: dict[tuple[str, ...], list[SweepRow]] = {}
    for row in rows:
        series.setdefault(tuple(_written(row.point[other]) for other in others), []).append(row)
    numeric = _is_numeric(name, rows)
    values = list(dict.fromkeys(row.point[name] if numeric else _written(row.point[name]) for row in rows))
    if numeric:
        values.sort()
    teachers = {row.teacher["mean"]: row.teacher["interval95"] for row in rows if row.teacher is not None}
    for number, (mean, interval) in enumerate(sorted(teachers.items())):
        axes.axhline(mean, color="0.35", linestyle="--", linewidth=1.2, label="" if number else "teacher", zorder=1)
        axes.axhspan(*interval, color="0.35", alpha=0.12, linewidth=0, zorder=0)
    for number, (what, of) in enumerate(series.items()):
        if numeric:
            of = sorted(of, key=lambda row: row.point[name])
            places = [row.point[name] for row in of]
        else:  # side by side around the value's place
            aside = (number - (len(series) - 1) / 2) * min(0.18, 0.7 / len(series))
            places = [values.index(_written(row.point[name])) + aside for row in of]
        means = [row.score for row in of]
        reach = [[row.score - row.interval95[0] for row in of], [row.interval95[1] - row.score for row in of]]
        label = ", ".join(f"{short(other)} {value}" for other, value in zip(others, what, strict=True)) or "student"
        if all(row.teacher is None for row in of) and not others:
            label = "score"
        axes.errorbar(
            places,
            means,
            yerr=reach,
            color=LIGHT.colors[number % len(LIGHT.colors)],
            linestyle="-" if numeric and joined else "",
            linewidth=1.2,
            marker="o",
            markersize=6,
            capsize=4,
            label=label,
            zorder=2,
        )
    _write_values(axes, values, numeric=numeric, each=joined)
    axes.set(xlabel=short(name), ylabel="mean score, 95% interval")
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)


def _write_values(axes: "Axes", values: Sequence[Any], *, numeric: bool, each: bool) -> None:
    """Scale the axis, and write the values at it where they are few and `each` was chosen, not drawn."""
    if not numeric:
        axes.set_xticks(range(len(values)), [_wrapped(value) for value in values])
        axes.set_xlim(-0.6, len(values) - 0.4)
        return
    if values[0] > 0 and values[-1] / values[0] >= LOGARITHMIC_FROM:
        axes.set_xscale("log")
    if each and len(values) <= FEW_VALUES:
        axes.set_xticks(values, [_written(value) for value in values])
        axes.minorticks_off()
    if len(values) == 1:
        axes.set_xlim(values[0] - 1, values[0] + 1)


def _written(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)  # all digits are in the CSV


def _wrapped(text: str, width: int = 16) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
