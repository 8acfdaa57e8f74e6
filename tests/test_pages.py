"""Pages: what they promise is there; that their commands and snippets run is shown by tests/slow/test_pages.py."""

import json
import re
from pathlib import Path

import pytest
from pages import PAGES, ROOT

from distill.report.blocks import BLOCKS, MARKED, fill
from distill.weights.files import shipped
from distill.weights.load import load_network


def slugs(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_two_commands_stand_at_the_top():
    """A newcomer finds how to run and how to test in the first 25 lines, and a moving picture."""
    top = (ROOT / "README.md").read_text().splitlines()[:25]
    assert "    pip install -e . && python -m distill fit --config conf/compress.yaml" in top
    assert '    pip install -e ".[test]" && pytest' in top
    (picture,) = (line for line in top if line.startswith("!["))
    assert (ROOT / re.search(r"\((.+\.gif)\)", picture)[1]).stat().st_size < 2e6


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_is_short(page):
    """README is one screen and a half; every other page has at most 200 lines."""
    text = page.read_text()
    if page == ROOT / "README.md":
        assert len(text.split()) <= 1_100
    assert len(text.splitlines()) <= (150 if page == ROOT / "README.md" else 200)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page):
    """Files and headings that a page links to are there."""
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in slugs(target), link


def test_numbers_are_what_was_measured():
    """Filling each page's blocks again changes nothing, and each block stands in a page."""
    used = set()
    for page in PAGES:
        text = page.read_text()
        assert fill(text, ROOT / "conf" / "results") == text, page
        used |= set(MARKED.findall(text))
    assert used == set(BLOCKS)


def test_ci_runs_what_readme_says():
    """`.ci/run` installs as README does, and runs its tests, and the slow ones too."""
    commands = (ROOT / ".ci" / "run").read_text()
    assert all(command in commands for command in ('pip install -q -e ".[test]"', "pytest\n", "pytest -m slow"))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_first_command_reaches_its_goal(seed):
    """Each of three seeds has at least 95% of its teacher's points above random, over 30 episodes."""
    scores = json.loads((ROOT / "conf" / "results" / "compress" / f"{seed}.json").read_text())
    assert scores["student"]["episodes"] == 30
    assert scores["random_adjusted_ratio"] >= 0.95


def test_what_the_first_command_prints_is_what_it_printed():
    """README shows the end of the run of seed 0."""
    scores = json.loads((ROOT / "conf" / "results" / "compress" / "0.json").read_text())
    sides = [scores[who] for who in ("teacher", "student")]
    text = (ROOT / "README.md").read_text()
    for name, shown in {
        "parameters": [f"{of['parameters']:,}" for of in sides],
        "score": [f"{of['mean']:.1f}" for of in sides],
        "95% interval": ["{:.1f} to {:.1f}".format(*of["interval95"]) for of in sides],
        "share of the score above random": [f"{scores['random_adjusted_ratio']:.1%}"],
    }.items():
        assert re.search(rf"^    {name} +{' +'.join(map(re.escape, shown))}$", text, re.MULTILINE), name


@pytest.mark.parametrize("game", shipped())
def test_a_teacher_comes_with_its_run(game):
    """Config, curve and scores are beside a shipped teacher's weights, and its header has the same score."""
    folder = ROOT / "distill" / "teachers"
    score = json.loads((folder / f"{game}.json").read_text())["teacher"]
    assert load_network(game)[1]["score"]["mean"] == score["mean"]
    assert {f"{game}.csv", f"{game}.yaml"} <= {path.name for path in folder.iterdir()}
