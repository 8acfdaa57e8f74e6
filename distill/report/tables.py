"""Runs -> the paper's tables, ours beside the paper's numbers."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.report.charts import shares_chart, sizes_chart, temperatures_chart
from distill.report.layouts import (
    NOTHING_PRINTED,
    TABLE_LAYOUTS,
    Cells,
    TableLayout,
    common_games,
    mean_of,
    name_of_mean,
    papers_mean,
    table_cells,
    temperature_layouts,
)
from distill.report.page import DASH, Grid, Section, interval, percent, points
from distill.report.published import DQN_SCORES, GAME_NAMES
from distill.report.results import Pooled, Result, pool


def sections_of(results: Sequence[Result]) -> tuple[list[Section], list[str]]:
    """Make the tables for which there are runs.

    Returns:
        The tables, and what must be said of runs that are not in them.
    """
    sections: list[Section] = []
    notes: list[str] = []
    used: set[Path] = set()
    for layout in (*TABLE_LAYOUTS, *temperature_layouts(results)):
        mine = [result for result in results if layout.column_of(result.experiment) in layout.columns]
        used |= {result.run for result in mine}
        if mine:
            cells, left_out = table_cells(layout, mine)
            notes += [f"{layout.title}: {note}" for note in left_out]
            with_full = _with_full_size(cells, results) if layout.name == "tableB1" else cells
            sections.append(_section(layout, cells, with_full))
    others = [result for result in results if result.run not in used]
    if others:
        sections.append(_other_runs(others))
    return sections, list(dict.fromkeys(notes))


def _other_runs(results: Sequence[Result]) -> Section:
    """Lay out runs that belong into no table of the paper's, seeds of one experiment together."""
    groups: dict[tuple[Any, ...], dict[int, Result]] = {}
    for result in results:
        groups.setdefault((result.experiment, result.protocol, result.game), {}).setdefault(result.seed, result)
    pooled = [pool(list(seeds.values())) for seeds in groups.values()]
    rows, numbers = [], []
    for of in pooled:
        first = of.results[0]
        what = first.experiment.described
        module = first.experiment.module.rpartition(".")[2]
        game = GAME_NAMES.get(first.game, first.game)
        seeds = str(len(of.seeds)) if len(of.seeds) > 1 else f"1 ({of.seeds[0]})"
        scores = (points(of.mean), interval(of.interval95), points(of.teacher), percent(of.above_random))
        rows.append((str(first.run), game, f"{module}: {what}", f"{first.experiment.hours:.3g}", seeds, *scores))
        runs = " ".join(str(result.run) for result in of.results)
        low, high = of.interval95
        numbers.append(
            {
                **{"runs": runs, "game": first.game, "module": first.experiment.module, "what": what},
                **{"hours": first.experiment.hours, "updates": first.experiment.updates},
                **{"seeds": " ".join(map(str, of.seeds)), "score": of.mean, "low": low, "high": high},
                **{"teacher": of.teacher, "above_random": of.above_random},
            }
        )
    header = ("run", "game", "what", "hours", "seeds", "score", "95% interval", "its teacher's", "share above random")
    said = ["Runs that belong into none of the paper's tables; hours are of 54,000 steps."]
    return Section(
        "runs", "Other runs", said, [Grid("Scores, and shares of the teachers' points", header, rows)], numbers
    )


def _with_full_size(cells: Cells, results: Sequence[Result]) -> Cells:
    layout = TABLE_LAYOUTS[1]._replace(columns={"dqn": ""})
    full = [result for result in results if layout.column_of(result.experiment) == "dqn"]
    return {**table_cells(layout, full)[0], **cells}


def _section(layout: TableLayout, cells: Cells, with_full: Cells) -> Section:
    paper = layout.paper
    played = {game for of in cells.values() for game in of}
    printed = {game for of in paper.cells.values() for game in of}
    games = [game for game in GAME_NAMES if game in played | printed]
    games += sorted(played - set(games))
    draw = sizes_chart(cells, with_full) if layout.name == "tableB1" else shares_chart(layout, cells, games)
    if paper is NOTHING_PRINTED:
        draw = temperatures_chart(layout, cells)
    return Section(
        layout.name,
        layout.title,
        [_budget(layout, cells), _order(layout, cells)],
        [_shares(layout, cells, games), _scores(layout, cells, games)],
        _rows(layout, cells, games),
        draw,
        layout.figure or f"{layout.name}.png",
        f"{layout.title}: shares of the teachers' points above random",
    )


def _budget(layout: TableLayout, cells: Cells) -> str:
    """Describe hours, seeds, episodes and protocol: ours, and the paper's."""
    all_cells = [cell for of in cells.values() for cell in of.values()]
    results = [result for cell in all_cells for result in cell.results]
    hours = sorted({(result.experiment.hours, len(result.experiment.games)) for result in results})
    seeds = sorted({cell.seeds for cell in all_cells})
    episodes = sorted({result.own["episodes"] for result in results})
    said = (
        f"Ours: {'; '.join(_hours(*of) for of in hours)} of play; "
        f"seeds {' or '.join(', '.join(map(str, of)) for of in seeds)}; "
        f"{' or '.join(map(str, episodes))} episodes a seed; {'; '.join(sorted({of.protocol for of in results}))}."
    )
    if len(hours) > 1:
        said += " Hours differ from cell to cell: compare only those that have as many."
    if layout.paper.hours:
        said += f" The paper's: {layout.paper.hours}; human starts, epsilon 0.05; seeds and intervals not printed."
    return said


def _hours(hours: float, games: int) -> str:
    return f"{round(hours, 2):g} hours" + (f" over {games} games" if games > 1 else "")


def _order(layout: TableLayout, cells: Cells) -> str:
    """Rank the columns by geometric means over the games that all have."""
    games = common_games(cells)
    means = {column: mean_of(of, games) for column, of in cells.items() if of and games}
    if not means:
        return "There is no game in which every student is above random, so there is no mean to compare."
    theirs = {column: papers_mean(layout.paper, column, games) for column in means}
    theirs = {column: mean for column, mean in theirs.items() if mean is not None}
    papers = f"; the paper's, same games: {_ranked(layout, theirs)}" if theirs else ""
    return f"Geometric mean over {_names(games, cells)}, ours: {_ranked(layout, means)}{papers}."


def _ranked(layout: TableLayout, means: Mapping[str, float | None]) -> str:
    known = {column: mean for column, mean in means.items() if mean is not None}
    ranked = sorted(known, key=lambda column: known[column], reverse=True)
    return " > ".join(f"{layout.columns[column].split(',')[0]} {known[column]:.1%}" for column in ranked)


def _names(games: Sequence[str], cells: Cells) -> str:
    """List up to four games by name; of more, give their number, and name those of ours that are missing."""
    without = {game for of in cells.values() for game in of} - set(games)
    if len(games) <= 4:
        return ", ".join(GAME_NAMES.get(game, game) for game in games)
    named = ", ".join(GAME_NAMES.get(game, game) for game in sorted(without))
    return f"{len(games)} games" + (f" (not {named})" if without else "")


def _shares(layout: TableLayout, cells: Cells, games: Sequence[str]) -> Grid:
    """Lay the shares out as the paper does its own, each of ours beside the paper's."""
    paper, beside = layout.paper, bool(layout.paper.cells)

    def row(name: str, ours: Callable[[str], str], theirs: Callable[[str], str]) -> tuple[str, ...]:
        pairs = ((ours(column), theirs(column)) if beside else (ours(column),) for column in layout.columns)
        return (name, *(cell for pair in pairs for cell in pair))

    def ours(column: str, game: str) -> str:
        cell = cells[column].get(game)
        return percent(cell and cell.above_random)

    def theirs(column: str, game: str) -> str:
        printed = paper.cells.get(column, {}).get(game)
        return percent(printed and printed.percent / 100)

    rows = [
        row(GAME_NAMES.get(game, game), functools.partial(ours, game=game), functools.partial(theirs, game=game))
        for game in games
    ]
    common, printed = common_games(cells), [game for game in games if game in DQN_SCORES]
    means = []
    if common:
        name = name_of_mean(len(common), len(games))
        means.append(
            row(
                name, lambda of: percent(mean_of(cells[of], common)), lambda of: percent(papers_mean(paper, of, common))
            )
        )
    if beside and common != printed:
        name = name_of_mean(len(printed), len(games))
        means.append(row(name, lambda of: DASH, lambda of: percent(papers_mean(paper, of, printed))))
    headings = [name for heading in layout.columns.values() for name in ((heading, "paper") if beside else (heading,))]
    title = "Shares of the teachers' points above random; means are geometric"
    return Grid(title, ("game", *headings), rows + means, len(means))


def _scores(layout: TableLayout, cells: Cells, games: Sequence[str]) -> Grid:
    """List what each share is made of, a row for each game that was run, beside the paper's shares."""
    of_game = {game: [of.get(game) for of in cells.values()] for game in games}
    of_game = {game: row for game, row in of_game.items() if any(row)}
    every = [cell for row in of_game.values() for cell in row if cell]
    hours = {cell.results[0].experiment.hours for cell in every}
    seeds = {len(cell.seeds) for cell in every}
    printed = [column for column in layout.columns if column in layout.paper.cells]

    def scored(cell: Pooled | None) -> str:
        if cell is None:
            return DASH
        learned = f", {_hours(cell.results[0].experiment.hours, 1)}" if len(hours) > 1 else ""
        pooled = f", {len(cell.seeds)} seeds" if len(seeds) > 1 and len(cell.seeds) > 1 else ""
        return f"{points(cell.mean)} ({interval(cell.interval95)}), {percent(cell.above_random)}{learned}{pooled}"

    def papers(of: Callable[[str], float | None]) -> tuple[str, ...]:
        return (", ".join(percent(of(column)) for column in printed),) if printed else ()

    rows: list[tuple[str, ...]] = []
    for game, row in of_game.items():
        teachers = [cell.teacher for cell in row if cell and cell.teacher is not None]
        ends = dict.fromkeys(map(points, (min(teachers), max(teachers)) if teachers else (None,)))
        theirs = {column: layout.paper.cells[column].get(game) for column in printed}
        shares = {column: cell.percent / 100 for column, cell in theirs.items() if cell}
        rows.append((GAME_NAMES.get(game, game), " to ".join(ends), *map(scored, row), *papers(shares.get)))
    common = common_games(cells)
    if len(common) > 1:
        name = name_of_mean(len(common), len(of_game))
        ours = (percent(mean_of(of, common)) for of in cells.values())
        rows.append((name, "", *ours, *papers(lambda column: papers_mean(layout.paper, column, common))))
    names = ", ".join(layout.columns[column].split(",")[0] for column in printed)
    header = ("game", "teacher", *layout.columns.values(), *([f"paper: {names}"] if printed else []))
    return Grid("Scores, 95% intervals, and these shares", header, rows, int(len(common) > 1))


def _rows(layout: TableLayout, cells: Cells, games: Sequence[str]) -> list[dict[str, object]]:
    return [
        {
            "game": game,
            "student": column,
            "score": cell and cell.mean,
            "interval_low": cell and cell.interval95[0],
            "interval_high": cell and cell.interval95[1],
            "interval_over": cell and ("seeds" if len(cell.seeds) > 1 else "episodes"),
            "teacher": cell and cell.teacher,
            "random": cell and cell.random,
            "share": cell and cell.share,
            "above_random": cell and cell.above_random,
            "above_random_low": cell and cell.above_random_interval and cell.above_random_interval[0],
            "above_random_high": cell and cell.above_random_interval and cell.above_random_interval[1],
            "parameters": cell and cell.results[0].parameters,
            "teacher_parameters": cell and cell.results[0].teacher_parameters,
            "hours": cell and f"{cell.results[0].experiment.hours:g}",
            "games": cell and len(cell.results[0].experiment.games),
            "seeds": cell and " ".join(map(str, cell.seeds)),
            "episodes_a_seed": cell and cell.results[0].own["episodes"],
            "protocol": cell and cell.results[0].protocol,
            "runs": cell and " ".join(str(result.run) for result in cell.results),
            "paper_score": printed and printed.score,
            "paper_share": printed and round(printed.percent / 100, 4),
            "paper_dqn": printed and DQN_SCORES[game],
        }
        for game in games
        for column in layout.columns
        for cell in [cells[column].get(game)]
        for printed in [layout.paper.cells.get(column, {}).get(game)]
        if cell or printed
    ]
