"""Runs -> the paper's figures, ours beside the paper's numbers."""

from collections.abc import Sequence

from distill.report.figures import Draw, PlotPoint, bars, lines
from distill.report.layouts import Cells, TableLayout, common_games, mean_of, papers_mean
from distill.report.published import GAME_NAMES, SIZES_PERCENT, TABLE_B1
from distill.report.results import Pooled


def _point(cell: Pooled | None) -> PlotPoint | None:
    if cell is None or cell.above_random is None or cell.above_random_interval is None:
        return None
    low, high = cell.above_random_interval
    return PlotPoint(cell.above_random * 100, (low * 100, high * 100))


def shares_chart(layout: TableLayout, cells: Cells, games: Sequence[str]) -> Draw:
    """Draw a table's shares as bars, game by game."""
    common = common_games(cells)
    names = [GAME_NAMES.get(game, game) for game in games] + ([f"mean of {len(common)}"] if common else [])
    ours, theirs = {}, {}
    for column, heading in layout.columns.items():
        of = layout.paper.cells.get(column, {})
        ours[heading] = [_point(cells[column].get(game)) for game in games]
        theirs[heading] = [of[game].percent if game in of else None for game in games]
        if common:
            mean, printed = mean_of(cells[column], common), papers_mean(layout.paper, column, common)
            ours[heading].append(PlotPoint(mean * 100) if mean else None)
            theirs[heading].append(printed and printed * 100)
    return bars(names, ours, theirs, layout.title)


def sizes_chart(cells: Cells, with_full: Cells) -> Draw:
    """Draw figure 3: shares of the points above random against shares of the parameters."""
    by_game: dict[str, dict[float, PlotPoint]] = {name: {} for name in GAME_NAMES.values()}
    sizes: dict[str, list[float]] = {}
    for column, of in with_full.items():
        for game, cell in of.items():
            result = cell.results[0]
            if result.teacher_parameters is None:  # a dataset was in its place
                continue
            size = 100 * result.parameters / result.teacher_parameters
            sizes.setdefault(column, []).append(size)
            if point := _point(cell):
                by_game.setdefault(GAME_NAMES.get(game, game), {})[size] = point
    games = common_games(cells)
    mean = {}
    if len(games) > 1:
        for column, of in with_full.items():
            if share := mean_of(of, games):
                mean[sum(sizes[column]) / len(sizes[column])] = PlotPoint(share * 100)
    printed = {SIZES_PERCENT[column]: percent for column, percent in TABLE_B1.geometric_means.items()}
    ticks = {100: "100", 25.3: "25", 6.7: "7", 3.7: "4", 1: "1", 0.3: "0.3"}
    low = min((size for of in sizes.values() for size in of), default=3) * 0.9
    return lines(
        {name: points for name, points in by_game.items() if points},
        mean,
        printed,
        mean_name=f"mean of {len(games)}",
        title="Figure 3: smaller students, by KL",
        xlabel="% of the teacher's parameters",
        ticks={at: name for at, name in ticks.items() if at >= min(low, 3.5)},
    )


def temperatures_chart(layout: TableLayout, cells: Cells) -> Draw:
    """Draw shares of the points above random against the temperature."""
    by_game: dict[str, dict[float, PlotPoint]] = {name: {} for name in GAME_NAMES.values()}
    for column, of in cells.items():
        for game, cell in of.items():
            if point := _point(cell):
                by_game.setdefault(GAME_NAMES.get(game, game), {})[float(column)] = point
    games = common_games(cells)
    means = {float(column): mean_of(of, games) for column, of in cells.items()}
    return lines(
        {name: points for name, points in by_game.items() if points},
        {at: PlotPoint(mean * 100) for at, mean in means.items() if mean and len(games) > 1},
        {},
        mean_name=f"mean of {len(games)}",
        title=layout.title,
        xlabel="temperature of the teacher's softmax",
        ticks={float(column): column for column in layout.columns},
    )
