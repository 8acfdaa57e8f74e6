"""Pictures as PNG, for a light and for a dark page."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_INCHES = (8.0, 4.5)
DOTS_PER_INCH = 150


class Theme(NamedTuple):
    """Colours of a picture."""

    ink: str
    soft: str
    paper: str
    colors: tuple[str, ...]
    """Told apart by the colour-blind, too."""


LIGHT = Theme("#1c1f24", "#8a93a0", "#ffffff", ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8f7300"))
DARK = Theme("#e6e9ee", "#8a93a0", "#14171c", ("#56b4e9", "#f0883e", "#35c495", "#e29cc4", "#e0c340"))

Draw = Callable[[Theme], bytes]
"""Draws a picture as PNG."""


class PlotPoint(NamedTuple):
    """A share of a teacher's score, in percent."""

    value: float
    interval95: tuple[float, float] | None = None


def picture(theme: Theme, draw: Callable[["Axes"], None]) -> bytes:
    """Draw on axes in a theme's colours; PNG of 1200 x 675 pixels."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(
        {
            **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), theme.ink),
            **{"axes.edgecolor": theme.soft, "axes.facecolor": theme.paper, "figure.facecolor": theme.paper},
            **{"font.size": 12, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False},
        }
    ):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        draw(figure.subplots())
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=DOTS_PER_INCH)
    return png.getvalue()


def bars(
    groups: Sequence[str],
    ours: Mapping[str, Sequence[PlotPoint | None]],
    papers: Mapping[str, Sequence[float | None]],
    title: str,
) -> Draw:
    """Draw bars of shares, ours; the paper's are marks on them.

    Args:
        groups: Games, and whatever else has bars.
        ours: For each agent one share for each group; None where there is none.
        papers: The paper's, in percent.
        title: Above the picture.
    """

    def draw(axes: "Axes", theme: Theme) -> None:
        width = 0.8 / len(ours)
        for number, (agent, points) in enumerate(ours.items()):
            places = [place + (number - (len(ours) - 1) / 2) * width for place in range(len(groups))]
            color = theme.colors[number % len(theme.colors)]
            drawn = [(place, point) for place, point in zip(places, points, strict=True) if point]
            axes.bar(
                [place for place, _ in drawn], [of.value for _, of in drawn], width * 0.9, color=color, label=agent
            )
            for place, point in drawn:
                if point.interval95:
                    axes.plot([place, place], point.interval95, color=theme.ink, linewidth=1)
            theirs = [(place, of) for place, of in zip(places, papers.get(agent, ()), strict=False) if of is not None]
            axes.plot(
                [at for at, _ in theirs],
                [of for _, of in theirs],
                label="" if number else "the paper",
                linestyle="",
                marker="D",
                markersize=5,
                markerfacecolor=theme.paper,
                markeredgecolor=theme.ink,
            )
        axes.axhline(100, color=theme.soft, linewidth=0.8, linestyle=":")
        axes.set_xticks(range(len(groups)), groups, rotation=0 if len(groups) <= 5 else 35)
        if len(groups) > 5:
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right")
        axes.set(ylabel="% of the teacher's points above random", title=title)
        axes.legend(ncols=len(ours) + 1, loc="upper center", bbox_to_anchor=(0.5, -0.12 if len(groups) <= 5 else -0.3))

    return lambda theme: picture(theme, lambda axes: draw(axes, theme))


def lines(
    games: Mapping[str, Mapping[float, PlotPoint]],
    mean: Mapping[float, PlotPoint],
    paper: Mapping[float, float],
    *,
    mean_name: str,
    title: str,
    xlabel: str,
    ticks: Mapping[float, str],
) -> Draw:
    """Draw shares against a quantity on a logarithmic axis, from large to small.

    Args:
        games: Ours, for each game by the quantity.
        mean: Ours over games; empty where there is none.
        paper: The paper's mean, in percent; empty where there is none.
        mean_name: What ours is called.
        title: Above the picture.
        xlabel: What the quantity is.
        ticks: Where to write what below it.
    """

    def draw(axes: "Axes", theme: Theme) -> None:
        from matplotlib.ticker import NullLocator

        def line(points: Mapping[float, PlotPoint], name: str, color: str, **look: Any) -> None:
            places = sorted(points)
            axes.plot(places, [points[at].value for at in places], color=color, label=name, **look)
            for at in places:
                if interval := points[at].interval95:
                    axes.plot([at, at], interval, color=color, linewidth=1, alpha=0.6)

        for number, (name, points) in enumerate(games.items()):
            style = "-" if number < len(theme.colors) else "--"
            color = theme.colors[number % len(theme.colors)]
            line(points, name, color, linewidth=1.3, marker="o", markersize=4, linestyle=style)
        if mean:
            line(mean, mean_name, theme.ink, linewidth=2.5, marker="D")
        if paper:
            theirs = {at: PlotPoint(value) for at, value in paper.items()}
            line(theirs, "the paper's, 10 games", theme.soft, linewidth=1.8, marker="D", linestyle=":")
        axes.axhline(100, color=theme.soft, linewidth=0.8, linestyle=":")
        axes.set_xscale("log")
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.invert_xaxis()
        axes.set(xlabel=xlabel, ylabel="% of the teacher's points above random", title=title)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))

    return lambda theme: picture(theme, lambda axes: draw(axes, theme))
