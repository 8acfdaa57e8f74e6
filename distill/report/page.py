"""Sections of tables and figures -> Markdown, CSV, PNG, and one HTML page that needs nothing beside it."""

import base64
import csv
import html
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from distill.files.store import write_atomically
from distill.report.figures import DARK, LIGHT, Draw

STYLE = """
:root { color-scheme: light dark; --ink: #1c1f24; --soft: #5c6470; --line: #d9dde3; --paper: #ffffff; --band: #f4f6f8;
  --accent: #0b62a4; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa4b2; --line: #323943;
  --paper: #14171c; --band: #1b2027; --accent: #6cb6f5; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 68rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 3rem 0 .5rem; padding-top: .6rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p, li { max-width: 46rem; margin: .4rem 0; overflow-wrap: anywhere; }
ul { padding-left: 1.2rem; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: 1rem 0; }
a { color: var(--accent); }
.table { overflow-x: auto; margin: .3rem 0 1rem; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--paper);
  padding-left: 0; }
tr.total td { font-weight: 600; background: var(--band); }
tr.total td:first-child { background: var(--band); }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; }
footer { margin-top: 3rem; color: var(--soft); font-size: .9rem; }
@media (max-width: 40rem) { body { padding: 1rem .8rem 3rem; } th, td { padding: .3rem .45rem; }
  table { font-size: .82rem; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; }
  .table { overflow: visible; } table { font-size: 7.5pt; } th, td { padding: .15rem .35rem; }
  tr, figure { break-inside: avoid; } h2, h3 { break-after: avoid; } figure img { max-height: 9cm; } }
"""
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


def write(folder: Path, title: str, said: Sequence[str], sections: Sequence[Section], notes: Sequence[str]) -> None:
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
            parts += [f"**{_plain(grid.title)}**", _markdown_table(grid)]
        parts.append(f"Numbers: [{section.name}.csv]({section.name}.csv)")
    if notes:
        parts += ["## Notes", "\n".join(f"- {_plain(note)}" for note in notes)]
    return "\n\n".join(parts) + "\n"


def _markdown_table(grid: Grid) -> str:
    lines = [grid.header, ("---", *("--:" for _ in grid.header[1:])), *grid.rows]
    return "\n".join(f"| {' | '.join(_plain(cell.replace('|', '/')) for cell in line)} |" for line in lines)


def _plain(text: str) -> str:
    """Have Markdown leave alone what would make words slanted, as in Q*bert."""
    return text.replace("*", r"\*")


def as_html(title: str, said: Sequence[str], sections: Sequence[Section], notes: Sequence[str]) -> str:
    """Write everything as one HTML page: style and pictures are in it, scripts there are none."""
    parts = [f"<h1>{html.escape(title)}</h1>", *map(_paragraph, said)]
    if len(sections) > 1:
        links = (f'<a href="#{section.name}">{html.escape(section.title)}</a>' for section in sections)
        parts.append(f"<nav>{' '.join(links)}</nav>")
    for section in sections:
        parts.append(f'<section id="{section.name}"><h2>{html.escape(section.title)}</h2>')
        parts += map(_paragraph, section.said)
        if section.draw:
            parts.append(_picture(section.draw, section.caption))
        for grid in section.grids:
            parts += [f"<h3>{html.escape(grid.title)}</h3>", _html_table(grid)]
        parts.append("</section>")
    if notes:
        parts.append(
            f"<footer><h2>Notes</h2><ul>{''.join(f'<li>{_inline(note)}</li>' for note in notes)}</ul></footer>"
        )
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style>"
    )
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _paragraph(text: str) -> str:
    return f"<p>{_inline(text)}</p>"


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))


def _picture(draw: Draw, caption: str) -> str:
    light, dark = (f"data:image/png;base64,{base64.b64encode(draw(theme)).decode()}" for theme in (LIGHT, DARK))
    source = f'<source media="screen and (prefers-color-scheme: dark)" srcset="{dark}">'
    image = f'<img src="{light}" alt="{html.escape(caption)}">'
    return f"<figure><picture>{source}{image}</picture></figure>"


def _html_table(grid: Grid) -> str:
    def row(cells: tuple[str, ...], tag: str = "td", total: bool = False) -> str:
        inside = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
        return f"<tr{' class=total' if total else ''}>{inside}</tr>"

    first_total = len(grid.rows) - grid.totals
    rows = "".join(row(cells, total=number >= first_total) for number, cells in enumerate(grid.rows))
    head = f"<thead>{row(grid.header, 'th')}</thead>"
    # So that a table wider than the screen can be moved by keyboard, too.
    return f'<div class="table" tabindex="0"><table>{head}<tbody>{rows}</tbody></table></div>'


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
