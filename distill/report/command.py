"""`python -m distill report`: runs as the paper's tables and figures, ours beside the paper's numbers."""

from pathlib import Path

from distill.errors import DistillError
from distill.report.blocks import write_blocks
from distill.report.curves import pairs_of, read_curves, section_of
from distill.report.page import Section, print_grid, write_report
from distill.report.results import is_online, read_results
from distill.report.tables import sections_of
from distill.runs.folder import run_folders

MAX_COLUMNS = 7
"""Of a table in a terminal."""
TITLE = "Policy Distillation: ours beside the paper's"
ABOUT = (
    "The paper is Rusu et al., Policy Distillation, ICLR 2016 (arXiv:1511.06295). A share of ours is (student - random)"
    " / (teacher - random), of mean scores, the teacher's under the same rules and seeds; the paper's is a score"
    " divided by a DQN's published one, with nothing subtracted, which means little where scores are near 0 or below.",
    "Intervals hold 95%: of several seeds by Student's t over their means, of one seed by bootstrap over its episodes, "
    "which says nothing of how other seeds would do. The teacher's score is taken as exact. A dash stands for what was "
    "not run, or not printed.",
)


def report(runs: list[str], out: str = "report", write: str | list[str] | None = None) -> None:
    """Turn runs into tables and figures: the paper's, ours beside its numbers, and one of all other runs.

    Table 1 (losses), B1 with figure 3 (sizes), B2 with figure 4 (three games), 2 (ten games), figure 5 (learning
    teachers), and temperatures; which run belongs where, its config says. Seeds of one experiment are taken together.

    Args:
        runs: Folders of runs that have ended, or folders that hold some, in any order.
        out: A folder for report.html, report.md, and each table as CSV and PNG.
        write: A page, or several, whose blocks `<!-- NAME -->` are filled instead; `runs` is then the folder of
            results, `conf/results`.

    Raises:
        ValueError: where no run has ended, or a named one has not.
    """
    if write is not None:
        if len(runs) != 1:
            raise DistillError(f"runs is {runs}; with write it must be the one folder of results")
        write_blocks([Path(page) for page in ([write] if isinstance(write, str) else write)], Path(runs[0]))
        return
    if Path(out).is_file() or Path(out).suffix in (".png", ".html", ".md", ".csv"):
        raise DistillError(f"out is {out}; it must be a folder, in which there will be report.html and all else")
    named = [Path(run) for run in runs]
    folders = run_folders(named)
    results, online, notes = [], [], []
    for run in folders:
        try:
            if is_online(run):
                online.append(run)
            elif run in named or (run / "scores.json").is_file():
                results += read_results(run)
            else:
                notes.append(f"`{run}` is left out: it has not ended")
        except ValueError as error:
            if run in named:
                raise
            notes.append(f"`{run}` is left out: {error}")
    sections, more = sections_of(results)
    notes += more
    pairs = pairs_of(online)
    for number, pair in enumerate(pairs, 1):
        try:
            sections.append(section_of(read_curves(pair), f"figure5_{number}" if len(pairs) > 1 else "figure5"))
        except ValueError as error:
            notes.append(str(error))
    if not sections:
        raise DistillError(f"there is nothing to report: {notes[0].replace('`', '')}")
    write_report(Path(out), TITLE, ABOUT, sections, notes)
    for section in sections:
        show_section(section)
    for note in notes:
        print(f"note: {note.replace('`', '')}")
    print(f"report: {out}/report.html, {out}/report.md")


def show_section(section: Section) -> None:
    """Print the first table of a section; of one too wide for a terminal what it comes to."""
    if len(section.grids[0].header) <= MAX_COLUMNS:
        print_grid(section.grids[0]._replace(title=f"{section.title}\n{section.grids[0].title}"))
    else:
        print(f"{section.title}\n{section.said[-1]}")
