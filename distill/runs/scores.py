"""What networks scored, side by side: as `scores.json` holds it, and as tables."""

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from distill.evaluation import EvalConfig, Played, Progress, play_episodes
from distill.files.store import write_atomically
from distill.rollout import Policy
from distill.runs import status
from distill.runs.status import Line, Status, clock
from distill.summary import geometric_mean, random_adjusted_ratio


def play_with_bar(policy: Policy, rules: EvalConfig, title: str) -> Played:
    """Play episodes, showing how far they are and, once one has ended, for how long it will go on."""
    begun, looked = time.monotonic(), 0.0
    line = Line(title, ["0 frames"])

    def look(progress: Progress) -> None:
        nonlocal line, looked
        now = time.monotonic()
        if now - looked >= status.LOOK_SECONDS:
            looked, first, share = now, [progress.described], None
            steps, left = int(progress.steps.sum()), progress.steps_left()
            if left is not None:
                first.append(f"{clock((now - begun) * left / steps)} left")
                share = steps / (steps + left)
            line = Line(title, first, [f"{clock(now - begun)} elapsed"], share)
            shown.tell()

    shown = Status(lambda: line)
    shown.start()
    try:
        return play_episodes(policy, rules, look)
    finally:
        shown.stop(erase=True)


def compare(student: float, teacher: float, random: float) -> dict[str, float | None]:
    """Return the student's score as shares of the teacher's; None where a quotient means nothing.

    Args:
        student: Its mean score.
        teacher: Its teacher's.
        random: A random player's.
    """
    adjusted = random_adjusted_ratio(student, teacher, random)
    return {
        "random": random,
        "ratio": student / teacher if teacher > 0 else None,
        "random_adjusted_ratio": None if math.isnan(adjusted) else adjusted,
    }


def write_scores(path: Path, scores: dict[str, Any]) -> None:
    """Write `scores.json`."""
    write_atomically(path, (json.dumps(scores, indent=2) + "\n").encode())


def games_of(scores: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Take out of what `scores.json` holds what it says of each game."""
    return dict(scores["games"]) if "games" in scores else {scores["game"]: scores}


def means_of(scores: dict[str, dict[str, Any]]) -> dict[str, float | None]:
    """Take geometric means over games of the student's shares of its teachers' scores."""
    return {
        f"geometric_mean_{name}": geometric_mean([of.get(name) for of in scores.values()])
        for name in ("ratio", "random_adjusted_ratio")
    }


def flat_scores(scores: Mapping[str, Any]) -> dict[str, float]:
    """Name the numbers of `scores.json`: `student/score`, and `pong/student/score` where there are several games."""
    found: dict[str, float | None] = {}
    for game, of in games_of(scores).items():
        prefix = f"{game}/" if "games" in scores else ""
        for who in ("teacher", "student"):
            if who in of:
                low, high = of[who]["interval95"]
                numbers = {"score": of[who]["mean"], "score_low": low, "score_high": high}
                found |= {f"{prefix}{who}/{name}": value for name, value in numbers.items()}
        found |= {f"{prefix}student/{name}": of.get(name) for name in ("ratio", "random_adjusted_ratio")}
    found |= {name: value for name, value in scores.items() if name.startswith("geometric_mean")}
    return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}


def print_table(scores: dict[str, Any]) -> None:
    """Print the networks of `scores` side by side."""
    names = [name for name in ("teacher", "student") if name in scores]
    table = Table(title=f"{scores['game']}: {scores['protocol']}")
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    rows: dict[str, Callable[[dict[str, Any]], str]] = {
        "parameters": lambda of: f"{of['parameters']:,}",
        "file": lambda of: "-" if of["file_bytes"] is None else f"{of['file_bytes'] / 1e6:.2f} MB",
        "forward, 1 observation": lambda of: f"{of['latency_ms']:.2f} ms",
        "score": lambda of: f"{of['mean']:.1f}",
        "95% interval": lambda of: "-" if of["episodes"] == 1 else "{:.1f} to {:.1f}".format(*of["interval95"]),
        "episodes": lambda of: str(of["episodes"]),
    }
    for row, show in rows.items():
        table.add_row(row, *(show(scores[name]) for name in names))
    if "random_adjusted_ratio" in scores:
        table.add_row("student's share of the teacher's score", "", _percent(scores["ratio"]))
        table.add_row(f"the same, above random ({scores['random']:g})", "", _percent(scores["random_adjusted_ratio"]))
    _print(table)


def print_games(title: str, scores: dict[str, dict[str, Any]]) -> None:
    """Print several games' scores, a row a game."""
    taught = "student" in next(iter(scores.values()))
    table = Table(title=title)
    table.add_column("game", no_wrap=True)
    for column in (
        ("teacher", "student", "95% interval", "ratio", "above random") if taught else ("score", "95% interval")
    ):
        table.add_column(column, justify="right")
    for game, of in scores.items():
        own = of["student" if taught else "teacher"]
        row = [_score(own["mean"]), "-" if own["episodes"] == 1 else " to ".join(map(_score, own["interval95"]))]
        if taught:
            teacher = _score(of["teacher"]["mean"]) if "teacher" in of else "-"
            row = [teacher, *row, _percent(of.get("ratio")), _percent(of.get("random_adjusted_ratio"))]
        table.add_row(game, *row)
    if taught:
        table.add_section()
        table.add_row("geometric mean", "", "", "", *map(_percent, means_of(scores).values()))
    _print(table)


def _print(table: Table) -> None:
    # By way of `print`, which moves what a terminal shows of a run's progress out of the way.
    console = Console(highlight=False)
    with console.capture() as capture:
        console.print(table)
    print(capture.get(), end="")


def _score(points: float) -> str:
    return f"{points:.1f}" if abs(points) < 1000 else f"{points:,.0f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
