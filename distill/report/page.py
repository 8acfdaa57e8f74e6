"""Sections of tables and figures -> Markdown, CSV, PNG, and one HTML page that needs nothing beside it."""

import base64
import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2
from markupsafe import Markup, escape
from rich.console import Console
from rich.table import Table

from distill.files.store import write_atomically
from distill.report.figures import DARK, LIGHT, Draw, Theme

DASH = "-"


class Grid(NamedTuple):
    """A table to read."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    totals: int = 0
    """How many of the last rows sum up the others."""


class Section(NamedTuple):
    """A table of the paper's, or a figure, with ours."""

    name: str
    """Of its files."""
    title: str
    said: list[str]
    """Paragraphs before the tables."""
    grids: list[Grid]
    csv: Sequence[Mapping[str, object]]
    """The numbers, unrounded; None is an empty cell. All rows have the same keys."""
    draw: Draw | None = None
    figure: str = ""
    """Name of the picture's file."""
    caption: str = ""


def percent(share: float | None) -> str:
    """Write a share; a dash where there is none."""
    return DASH if share is None else f"{share:.1%}"


def points(score: float | None) -> str:
    """Write a score; a dash where there is none."""
    return DASH if score is None else f"{score:,.1f}"


def interval(bounds: tuple[float, float] | None) -> str:
    """Write an interval; a dash where there is none."""
    return DASH if bounds is None else f"{points(bounds[0])} to {points(bounds[1])}"


def write_report(
    folder: Path, title: str, said: Sequence[str], sections: Sequence[Section], notes: Sequence[str]
) -> None:
    """Write a report: `report.md`, `report.html`, and for each section a CSV file and perhaps a PNG.

    Args:
        folder: Where; made where it is missing.
        title: Of the whole.
        said: Paragraphs at the top.
        sections: In order.
        notes: At the end.
    """
    for section in sections:
        write_csv(folder / f"{section.name}.csv", section.csv)
        if section.draw:
            write_atomically(folder / section.figure, section.draw(LIGHT))
    write_atomically(folder / "report.md", as_markdown(title, said, sections, notes).encode())
    write_atomically(folder / "report.html", as_html(title, said, sections, notes).encode())


def as_markdown(title: str, said: Sequence[str], sections: Sequence[Section], notes: Sequence[str]) -> str:
    """Write everything as Markdown, with the figures' files beside it."""
    parts = [f"# {_plain(title)}", *map(_plain, said)]
    for section in sections:
        parts += [f"## {_plain(section.title)}", *map(_plain, section.said)]
        if section.draw:
            parts.append(f"![{_plain(section.caption)}]({section.figure})")
        for grid in section.grids:
            parts += [f"**{_plain(grid.title)}**", markdown_table(grid)]
        parts.append(f"Numbers: [{section.name}.csv]({section.name}.csv)")
    if notes:
        parts += ["## Notes", "\n".join(f"- {_plain(note)}" for note in notes)]
    return "\n\n".join(parts) + "\n"


def markdown_table(grid: Grid) -> str:
    """Write a table as Markdown, without its title."""
    lines = [grid.header, ("---", *("--:" for _ in grid.header[1:])), *grid.rows]
    return "\n".join(f"| {' | '.join(_plain(cell.replace('|', '/')) for cell in line)} |" for line in lines)


def _plain(text: str) -> str:
    """Have Markdown leave alone what would make words slanted, as in Q*bert."""
    return text.replace("*", r"\*")


def as_html(title: str, said: Sequence[str], sections: Sequence[Section], notes: Sequence[str]) -> str:
    """Write everything as one HTML page: style and pictures are in it, scripts there are none."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("distill", "report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"code": _code, "picture": _picture}
    page = environment.get_template("report.html.jinja")
    return page.render(title=title, said=said, sections=sections, notes=notes, light=LIGHT, dark=DARK) + "\n"


def _code(text: str) -> Markup:
    """Set what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # escaped before


def _picture(draw: Draw, theme: Theme) -> str:
    return f"data:image/png;base64,{base64.b64encode(draw(theme)).decode()}"


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write numbers as CSV."""
    text = io.StringIO()
    written = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    written.writeheader()
    written.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def print_grid(grid: Grid) -> None:
    """Print a table."""
    table = Table(title=grid.title)
    for number, name in enumerate(grid.header):
        table.add_column(name, justify="right" if number else "left")
    for number, row in enumerate(grid.rows):
        if number == len(grid.rows) - grid.totals:
            table.add_section()
        table.add_row(*row)
    Console(highlight=False).print(table)
