"""The paper's experiments as cells: a config of conf/ and the options in which the cell differs from it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from omegaconf import OmegaConf

from distill.console.configs import CONF
from distill.jobs.scheduler import Job
from distill.protocol import TEMPERATURE
from distill.report.published import GAME_NAMES, LOSS_GAMES
from distill.weights.files import shipped

TableName = Literal["all", "table1", "tableB1", "tableB2", "table2", "temperature", "figure5"]
SIZES = ("net1", "net2", "net3", "net4", "net5")
TEMPERATURES = (1.0, 0.1, 0.01, 0.001)
ONLINE_GAME = "qbert"
ONLINE_FACTOR = 4
"""Figure 5 runs for so many times a student's hours: 1.2e8 steps are 2,222 hours, to 500 about as 4 to 1."""


class Plan(NamedTuple):
    """What one experiment's cells have in common."""

    hours: int
    """Of each game's play."""
    store: str
    """Folder of the teachers' play."""
    folder: Path
    """Where the runs are."""
    games: tuple[str, ...] = tuple(GAME_NAMES)
    """Which of the paper's."""


Made = tuple[list[Job], set[str]]
"""Cells, and games that want a teacher."""


def planned_jobs(table: TableName, plan: Plan, seeds: Sequence[int]) -> tuple[list[Job], list[str]]:
    """List the cells of a table, in order, and what is left out for want of a teacher.

    Args:
        table: Which; `all` means each cell of all of them once.
        plan: Hours and folders.
        seeds: Of each.
    """
    chosen = MAKERS.values() if table == "all" else [MAKERS[table]]
    cells: dict[str, Job] = {}
    missing: set[str] = set()
    for seed in seeds:
        for make in chosen:
            found, without = make(plan, seed)
            cells |= {cell.name: cell for cell in found}
            missing |= without
    return list(cells.values()), sorted(missing, key=list(GAME_NAMES).index)


def _with_teacher(plan: Plan, games: Sequence[str]) -> tuple[list[str], set[str]]:
    wanted = [game for game in games if game in plan.games]
    found = [game for game in wanted if game in shipped()]
    return found, set(wanted) - set(found)


def _cell(name: str, config: str, hours: int, seed: int, *options: str, needs: str | None = None) -> Job:
    path = CONF / config
    common = ["--config", str(path), "--trainer.max_epochs", str(hours), *_scaled(path, hours)]
    return Job(
        f"{name}-seed{seed}", (*common, *options, "--seed_everything", str(seed)), needs and f"{needs}-seed{seed}"
    )


def _scored_at_the_end(hours: int) -> tuple[str, str]:
    return "--trainer.check_val_every_n_epoch", str(hours)


def _scaled(config: Path, hours: int) -> list[str]:
    """Stretch a student's schedule of learning rates over other hours."""
    content = OmegaConf.load(config)
    rate = content.model.init_args.learning_rate
    if not OmegaConf.is_list(rate) or "teacher" in content.model.class_path:
        return []
    points = [[round(hour * hours / content.trainer.max_epochs, 4), value] for hour, value in rate]
    return ["--model.learning_rate", json.dumps(points)]


def _one_game(
    name: str, plan: Plan, seed: int, game: str, loss: str, network: str, temperature: float = TEMPERATURE
) -> Job:
    options = ["--model.loss_name", loss, "--model.network", network, "--data.game", game, "--data.teacher", game]
    if temperature != TEMPERATURE:
        name, options = f"{name}-temperature{temperature:g}", [*options, "--model.temperature", f"{temperature:g}"]
    options += ["--data.store", plan.store]
    return _cell(f"{name}-{game}", "paper/one_game.yaml", plan.hours, seed, *options)


def _table1(plan: Plan, seed: int) -> Made:
    games, missing = _with_teacher(plan, LOSS_GAMES)
    losses = ("mse", "nll", "kl")
    return [_one_game(f"{loss}-dqn", plan, seed, game, loss, "dqn") for game in games for loss in losses], missing


def _table_b1(plan: Plan, seed: int) -> Made:
    games, missing = _with_teacher(plan, tuple(GAME_NAMES))
    return [_one_game(f"kl-{size}", plan, seed, game, "kl", size) for game in games for size in SIZES], missing


def _temperature(plan: Plan, seed: int) -> Made:
    games, missing = _with_teacher(plan, LOSS_GAMES)
    cells = [_one_game("kl-dqn", plan, seed, game, "kl", "dqn", one) for game in games for one in TEMPERATURES]
    return cells, missing


def _table_b2(plan: Plan, seed: int) -> Made:
    if not {"freeway", "pong", "qbert"} <= set(plan.games):
        return [], set()
    hours = 3 * plan.hours
    options = (*_scored_at_the_end(hours), "--data.store", plan.store)
    students = [
        _cell(f"{loss}-multi3", "multitask3.yaml", hours, seed, "--model.loss_name", loss, *options)
        for loss in ("nll", "kl")
    ]
    return [_cell("dqn-multi3", "multi_dqn.yaml", hours, seed, *_scored_at_the_end(hours)), *students], set()


def _table2(plan: Plan, seed: int) -> Made:
    games, missing = _with_teacher(plan, tuple(GAME_NAMES))
    if not games:
        return [], missing
    hours = len(games) * plan.hours
    teachers = json.dumps({game: game for game in games})
    options = (*_scored_at_the_end(hours), "--data.game", teachers, "--data.store", plan.store)
    of = "10games" if len(games) == len(GAME_NAMES) else "-".join(games)
    return [_cell(f"kl-multi10-{of}", "multitask10.yaml", hours, seed, *options)], missing


def _figure5(plan: Plan, seed: int) -> Made:
    if ONLINE_GAME not in plan.games:
        return [], set()
    hours, game = ONLINE_FACTOR * plan.hours, ("--data.game", ONLINE_GAME)
    teacher = _cell("online-teacher", "online_teacher.yaml", hours, 0, *game)
    follows = ("--data.teacher", str(plan.folder / teacher.name))
    student = _cell("online-student", "online_student.yaml", hours, seed, *game, *follows)
    return [teacher, student._replace(needs=teacher.name)], set()


MAKERS: dict[str, Callable[[Plan, int], Made]] = {
    "table1": _table1,
    "tableB1": _table_b1,
    "tableB2": _table_b2,
    "table2": _table2,
    "temperature": _temperature,
    "figure5": _figure5,
}
