"""Numbers in pages: blocks between marks, filled from what runs and benchmarks wrote."""

import csv
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.files.store import write_atomically
from distill.protocol import NOOP_SCORES
from distill.report.curves import unsteadiness
from distill.report.figures import LIGHT
from distill.report.page import Grid, Section, interval, markdown_table, points
from distill.report.published import GAME_NAMES
from distill.report.results import read_results
from distill.report.tables import sections_of
from distill.runs.folder import run_folders
from distill.summary import geometric_mean, random_adjusted_ratio
from distill.tools.bench.tables import ratios_of
from distill.weights.files import shipped
from distill.weights.load import load_network

MARKED = re.compile(r"<!-- (\w+) -->\n.*?<!-- /\1 -->", re.DOTALL)
"""A block: `<!-- NAME -->`, lines, `<!-- /NAME -->`."""


def fill(page: str, results: Path) -> str:
    """Fill a page's blocks.

    Args:
        page: Markdown.
        results: The folder of what was measured, `conf/results`.

    Raises:
        ValueError: for a block that nothing fills.
    """

    def filled(block: re.Match[str]) -> str:
        name = block[1]
        if name not in BLOCKS:
            raise DistillError(f"there is no block {name}; there are {', '.join(BLOCKS)}")
        return f"<!-- {name} -->\n{markdown_table(BLOCKS[name](results))}\n<!-- /{name} -->"

    return MARKED.sub(filled, page)


def write_blocks(paths: list[Path], results: Path) -> None:
    """Fill the blocks of files, and draw the figure of sizes again; write what changes.

    Raises:
        ValueError: for a file that is missing, and as `fill`; nothing is written then.
    """
    pages = {}
    for path in paths:
        if not path.is_file():
            raise DistillError(f"{path} is no file")
        before = path.read_text()
        pages[path] = before, fill(before, results)
    for path, (before, after) in pages.items():
        if after != before:
            write_atomically(path, after.encode())
        print(f"{path}: {len(MARKED.findall(before))} blocks, {'written' if after != before else 'as they were'}")
    sizes = _sections(results)["tableB1"]
    if sizes.draw is not None:
        picture, path = sizes.draw(LIGHT), results / "paper" / sizes.figure
        if not path.is_file() or path.read_bytes() != picture:
            write_atomically(path, picture)
            print(f"{path}: written")


def _json_in(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def _with_interval(of: dict[str, Any]) -> str:
    return f"{points(of['mean'])} ({interval(tuple(of['interval95']))})"


def _compress(results: Path) -> Grid:
    rows = []
    for path in sorted((results / "compress").glob("*.json")):
        scores = _json_in(path)
        student, teacher = scores["student"], scores["teacher"]
        share = f"{scores['random_adjusted_ratio']:.1%}"
        rows.append((path.stem, f"{student['parameters']:,}", _with_interval(student), _with_interval(teacher), share))
    return Grid("", ("seed", "parameters", "student", "its teacher", "share above random"), rows)


@cache
def _sections(results: Path) -> dict[str, Section]:
    found = [result for run in run_folders([results / "paper"]) for result in read_results(run)]
    return {section.name: section for section in sections_of(found)[0]}


def _paper(name: str) -> Callable[[Path], Grid]:
    def grid(results: Path) -> Grid:
        section = _sections(results)[name]
        return next(grid for grid in section.grids if grid.title.startswith("Scores"))

    return grid


def _online(results: Path) -> Grid:
    with (results / "online" / "figure5.csv").open() as file:
        hours = list(csv.DictReader(file))
    rows = []
    for column, name in {"dqn": "DQN", "student0": "student, seed 0", "student1": "student, seed 1"}.items():
        scores = {int(row["hour"]): float(row[column]) for row in hours if row["hour"] != "0"}
        last = scores[max(scores)]
        rows.append((name, f"{max(scores.values()):.1f}", f"{last:.1f}", f"{unsteadiness(scores):.2f}"))
    return Grid("", ("Pong", "best score", "last score", "below its own best so far"), rows)


def _multitask(results: Path) -> Grid:
    student, joint = _json_in(results / "multitask3.json")["games"], _json_in(results / "multi_dqn.json")["games"]
    rows, shares = [], []
    for game, of in student.items():
        own = joint[game]["teacher"]
        shares.append(
            (of["random_adjusted_ratio"], random_adjusted_ratio(own["mean"], of["teacher"]["mean"], of["random"]))
        )
        cells = (_with_interval(of["student"]), f"{shares[-1][0]:.1%}", _with_interval(own), f"{shares[-1][1]:.1%}")
        rows.append((GAME_NAMES[game], _with_interval(of["teacher"]), *cells))
    means = [geometric_mean(column) or 0 for column in zip(*shares, strict=True)]
    rows.append(("geometric mean", "", "", f"{means[0]:.1%}", "", f"{means[1]:.1%}"))
    return Grid("", ("game", "teachers", "distilled, KL", "share", "Multi-DQN", "share"), rows)


def _speed(results: Path) -> Grid:
    return Grid("", ("", "ratio", "goal", "here"), ratios_of(_json_in(results / "bench.json")))


def _gpu(results: Path) -> dict[str, Any]:
    return _json_in(results / "bench_gpu.json")


def _updates_on_gpu(results: Path) -> Grid:
    rates = _gpu(results)["rates"]
    networks = ("dqn", "net1", "net2", "net3")
    rows = [
        (said, *(f"{rates[f'{network}, {what}']['median']:,.0f}" for network in networks))
        for what, said in {
            "fit": "inside `fit`, float32",
            "fit, bf16-mixed": "inside `fit`, bf16-mixed",
            "bare": "the same draws and updates in a bare loop",
            "plain": "a plain PyTorch loop, float32",
        }.items()
    ]
    return Grid("", ("updates a second", *networks), rows)


def _play_on_gpu(results: Path) -> Grid:
    found = _gpu(results)
    hours = found["hours_an_hour"]
    rates = {name: f"{rate['median']:,.0f}" for name, rate in found["rates"].items() if name.startswith("play")}
    rows = [
        ("play, 60 environments, steps a second", rates["play, ours"]),
        ("the environments alone, steps a second", rates["play, environment"]),
        ("play and learn, smallest network, simulated hours an hour", f"{hours:.0f}"),
        ("the paper's 500 hours at that rate, minutes", f"{500 * 60 / hours:.0f}"),
    ]
    return Grid("", ("", "H200 and 16 virtual cores"), rows)


def _teachers(results: Path) -> Grid:
    rows = []
    for game in shipped():
        score, header = _json_in(shipped()[game].with_suffix(".json"))["teacher"], load_network(game)[1]
        hours = header["trained"]["hours"]
        recipe = "teacher_fast" if game == "pong" else f"distill/teachers/{game}.yaml"
        known = points(NOOP_SCORES[game].dqn), points(NOOP_SCORES[game].random)
        rows.append((f"`{game}`", _with_interval(score), *known, str(hours), f"`--config {recipe}`"))
    return Grid("", ("game", "score, 30 episodes", "DQN, 2015", "random, 2015", "hours", "made by `fit`"), rows)


BLOCKS: dict[str, Callable[[Path], Grid]] = {
    "compress": _compress,
    "table1": _paper("table1"),
    "tableB1": _paper("tableB1"),
    "tableB2": _paper("tableB2"),
    "table2": _paper("table2"),
    "temperatures": _paper("temperatures_dqn"),
    "multitask": _multitask,
    "online": _online,
    "speed": _speed,
    "updates_on_gpu": _updates_on_gpu,
    "play_on_gpu": _play_on_gpu,
    "teachers": _teachers,
}
"""What fills each block."""
