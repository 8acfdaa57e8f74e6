"""Which run belongs into which cell of the paper's tables."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from distill.protocol import TEMPERATURE
from distill.report.published import GAME_NAMES, TABLE_1, TABLE_2, TABLE_B1, TABLE_B2, PaperTable
from distill.report.results import STUDENT, TEACHER_CLASS, Experiment, Pooled, Result, pool
from distill.summary import geometric_mean

SMALLER = {"net1": "net1, 25%", "net2": "net2, 7%", "net3": "net3, 4%", "net4": "net4, 1%", "net5": "net5, 0.3%"}
NOTHING_PRINTED = PaperTable({}, {}, "")

Cells = dict[str, dict[str, Pooled]]
"""By column, then by game."""


class TableLayout(NamedTuple):
    """A table of the paper's: its columns, and which runs belong into them."""

    name: str
    title: str
    paper: PaperTable
    columns: dict[str, str]
    """Heading of each."""
    column_of: Callable[[Experiment], str | None]
    figure: str = ""
    """Name of the picture's file; the table's own where it is empty."""


def _alone(experiment: Experiment) -> bool:
    return experiment.module == STUDENT and len(experiment.games) == 1 and not experiment.acts


def _by_paper(experiment: Experiment) -> str | None:
    """Return the loss of a student, if it is one of the paper's three, at its temperature."""
    loss = experiment.loss
    fits = loss in ("nll", "mse") or (loss == "kl" and experiment.temperature == TEMPERATURE)
    return loss if fits and experiment.module == STUDENT and not experiment.acts else None


def _loss(experiment: Experiment) -> str | None:
    return _by_paper(experiment) if _alone(experiment) and experiment.network == "dqn" else None


def _size(experiment: Experiment) -> str | None:
    return experiment.network if _alone(experiment) and _by_paper(experiment) == "kl" else None


def _three_games(experiment: Experiment) -> str | None:
    if experiment.network != "multi3":
        return None
    return "multi_dqn" if experiment.module == TEACHER_CLASS else _by_paper(experiment)


def _ten_games(experiment: Experiment) -> str | None:
    return _by_paper(experiment) if experiment.network == "multi10" else None


def _temperature_of(experiment: Experiment, network: str) -> str | None:
    fits = _alone(experiment) and (experiment.network, experiment.loss) == (network, "kl")
    return f"{experiment.temperature:g}" if fits else None


TABLE_LAYOUTS = (
    TableLayout("table1", "Table 1: losses", TABLE_1, {"mse": "MSE", "nll": "NLL", "kl": "KL"}, _loss),
    TableLayout("tableB1", "Table B1 and figure 3: sizes", TABLE_B1, SMALLER, _size, "figure3.png"),
    TableLayout(
        "tableB2",
        "Table B2 and figure 4: three games in one network",
        TABLE_B2,
        {"multi_dqn": "Multi-DQN", "nll": "Multi-Dist-NLL", "kl": "Multi-Dist-KL"},
        _three_games,
        "figure4.png",
    ),
    TableLayout("table2", "Table 2: ten games in one network", TABLE_2, {"kl": "Multi-Dist-KL"}, _ten_games),
)


def temperature_layouts(results: Iterable[Result]) -> list[TableLayout]:
    """Make a table for each network that learned by KL at several temperatures; the paper prints none."""
    found: dict[str, set[float]] = {}
    for result in results:
        temperature = result.experiment.temperature
        if _alone(result.experiment) and result.experiment.loss == "kl" and temperature is not None:
            found.setdefault(result.experiment.network, set()).add(temperature)
    return [
        TableLayout(
            f"temperatures_{network}",
            f"Temperatures, {network}",
            NOTHING_PRINTED,
            {f"{one:g}": f"{one:g}" for one in sorted(temperatures, reverse=True)},
            functools.partial(_temperature_of, network=network),
        )
        for network, temperatures in sorted(found.items())
        if len(temperatures) > 1
    ]


def table_cells(layout: TableLayout, results: Sequence[Result]) -> tuple[Cells, list[str]]:
    """Choose for each cell an experiment: of most hours, then updates, then seeds; say which runs that leaves out.

    Among equals, and of runs of one seed, it is the first by the name of its folder.
    """
    cells: Cells = {column: {} for column in layout.columns}
    groups: dict[tuple[str, str], dict[tuple[Experiment, str], dict[int, Result]]] = {}
    notes = []
    for result in sorted(results, key=lambda result: str(result.run)):
        column = layout.column_of(result.experiment)
        assert column is not None, "whoever calls gives results that belong into the table"
        at = groups.setdefault((column, result.game), {})
        seeds = at.setdefault((result.experiment, result.protocol), {})
        if result.seed in seeds:
            notes.append(f"`{result.run}` is left out: it has experiment and seed of `{seeds[result.seed].run}`")
        else:
            seeds[result.seed] = result
    for (column, game), at in groups.items():
        chosen = max(at, key=lambda of: (of[0].hours, of[0].updates, len(at[of])))
        cells[column][game] = pool(list(at[chosen].values()))
        for other in at.keys() - {chosen}:
            for result in at[other].values():
                less = other[0].hours < chosen[0].hours, other[0].updates < chosen[0].updates
                why = "fewer hours" if less[0] else "fewer updates" if less[1] else "other options, teacher or rules"
                notes.append(f"`{result.run}` is left out: it has {why} than `{cells[column][game].results[0].run}`")
    for game in {game for of in cells.values() for game in of}:
        known = [of[game] for of in cells.values() if game in of and of[game].teacher is not None]
        for of in cells.values():
            if game in of and known:
                of[game] = of[game].beside(known[0].teacher, known[0].random)
    return cells, notes


def common_games(cells: Cells) -> list[str]:
    """List the games in which every column that has any cell is above random: what means can be compared over."""
    columns = [of for of in cells.values() if of]
    games = dict.fromkeys([*GAME_NAMES, *(game for of in columns for game in of)])
    return [game for game in games if all(game in of and (of[game].above_random or 0) > 0 for of in columns)]


def mean_of(of: dict[str, Pooled], games: Sequence[str]) -> float | None:
    """Take the geometric mean of a column's shares above random over games; None where it lacks one of them."""
    return geometric_mean([of[game].above_random for game in games]) if games and set(games) <= set(of) else None


def name_of_mean(games: int, of: int) -> str:
    """Describe over how many of the games listed a mean is."""
    return "mean of both" if games == of == 2 else f"mean of {'all ' if games == of else ''}{games}"


def papers_mean(paper: PaperTable, column: str, games: Sequence[str]) -> float | None:
    """Take the geometric mean that the paper prints, or that of what it prints; None where a game is missing."""
    of = paper.cells.get(column, {})
    if not games or not set(games) <= set(of):
        return None
    if column in paper.geometric_means and set(games) == set(of):
        return paper.geometric_means[column] / 100
    return geometric_mean([of[game].percent / 100 for game in games])
