"""The README says what was measured; that its commands run is shown by tests/slow/test_readme.py."""

import csv
import json
import re
import shlex
from pathlib import Path

import pytest

from distill.cli import main
from distill.report.curves import unsteadiness
from distill.report.published import GAME_NAMES
from distill.summary import geometric_mean, random_adjusted_ratio
from distill.tools.bench.tables import ratios_of
from distill.weights.load import load_network, shipped

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = list(dict.fromkeys(re.findall(r"python -m distill (.+)$", README, re.MULTILINE)))


def test_the_two_commands_stand_at_the_top():
    """A newcomer finds how to run and how to test in the first 25 lines."""
    top = README.splitlines()[:25]
    assert "    pip install -e . && python -m distill fit --config conf/compress.yaml" in top
    assert '    pip install -e ".[test]" && pytest' in top


def test_ci_runs_what_the_readme_says():
    """`.ci/run` installs as the README does, and runs its tests, and the slow ones too."""
    commands = (ROOT / ".ci" / "run").read_text()
    assert all(command in commands for command in ('pip install -q -e ".[test]"', "pytest\n", "pytest -m slow"))


def shown(of: dict) -> str:
    """Write a score as the README does."""
    return "{:,.1f} ({:,.1f} to {:,.1f})".format(of["mean"], *of["interval95"])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_first_table_is_what_was_measured(seed):
    """A row of the README's first table is what its run wrote, and is at the goal."""
    scores = json.loads((ROOT / "conf" / "results" / "compress" / f"{seed}.json").read_text())

    student, teacher, share = scores["student"], scores["teacher"], scores["random_adjusted_ratio"]
    row = [f"student, seed {seed}", f"{student['parameters']:,}", shown(student), shown(teacher), f"{share:.1%}"]
    assert "| " + " | ".join(row) + " |" in README.splitlines()
    assert student["episodes"] == 30
    assert share >= 0.95


@pytest.mark.parametrize("game", shipped())
def test_the_teachers_table_is_what_was_measured(game):
    """A row of the teachers' table is what the run wrote, and says so where the score is short of its mark."""
    folder = ROOT / "distill" / "teachers"
    score = json.loads((folder / f"{game}.json").read_text())["teacher"]
    rows = [line.strip("| ").split(" | ") for line in (folder / "README.md").read_text().splitlines() if "|" in line]
    (row,) = [row for row in rows if row[0] == game]
    assert row[1] == "{:,.1f} ({:,.1f} to {:,.1f})".format(score["mean"], *score["interval95"])
    assert score["episodes"] == 30
    short = score["mean"] < float(row[2].split()[0].replace(",", ""))
    assert short == row[2].endswith("missed")
    assert load_network(game)[1]["score"]["mean"] == score["mean"]
    assert {f"{game}.csv", f"{game}.yaml"} <= {path.name for path in folder.iterdir()}


def test_what_three_games_in_one_network_reach_is_what_was_measured():
    """The README's shares of `conf/multitask3.yaml` are what its run wrote, at the goal, and above Multi-DQN's."""
    student, joint = (
        json.loads((ROOT / "conf" / "results" / f"{name}.json").read_text()) for name in ("multitask3", "multi_dqn")
    )
    said = " ".join(README.split("\n## Multi-task")[1].split("\n- ")[0].split())
    shares = []
    for game, of in student["games"].items():
        name = GAME_NAMES[game].replace("*", "\\*")
        assert f"{name} {of['random_adjusted_ratio']:.1%}" in said
        theirs = joint["games"][game]["teacher"]["mean"]
        shares.append(random_adjusted_ratio(theirs, of["teacher"]["mean"], of["random"]))
    mean = student["geometric_mean_random_adjusted_ratio"]
    assert f"KL {mean:.1%}" in said
    assert f"Multi-DQN {geometric_mean(shares):.1%}" in said
    assert mean >= 0.95 > geometric_mean(shares)
    assert student["parameters"] == joint["parameters"]


def test_the_papers_tables_are_what_their_runs_wrote(tmp_path, capsys):
    """The README's `report` of the committed runs writes the README's tables of scores, all of them."""
    (command,) = (command for command in COMMANDS if command.startswith("report conf/results"))
    arguments = shlex.split(command)
    arguments[1] = str(ROOT / arguments[1])
    written = []
    for runs in (arguments[1], f"{arguments[1]}/hours2"):
        main(["report", runs, "--out", str(tmp_path)])
        text = (tmp_path / "report.md").read_text()
        written += re.findall(r"^\*\*Scores.+\n\n((?:\|.+\n)+)", text, re.MULTILINE)
    section = README.split("\n## The paper's tables\n")[1].split("\n## ")[0]
    assert sorted(re.findall(r"(?:^\|.+\n)+", section, re.MULTILINE)) == sorted(dict.fromkeys(written))


def test_the_table_of_speed_is_what_was_measured():
    """The README has each ratio of the benchmark as its run wrote it, with its goal, and whether that was met."""
    found = json.loads((ROOT / "conf" / "results" / "bench.json").read_text())
    lines = README.splitlines()
    assert all("| " + " | ".join(row) + " |" in lines for row in ratios_of(found))
    assert found["machine"] in " ".join(lines)


def test_the_tables_of_speed_on_a_gpu_are_what_was_measured():
    """So is each row of those that were measured on a GPU."""
    found = json.loads((ROOT / "conf" / "results" / "bench_gpu.json").read_text())
    rates, lines = {name: f"{rate['median']:,.0f}" for name, rate in found["rates"].items()}, README.splitlines()
    assert "H200" in found["machine"]
    for row, what in {
        "inside `fit`, float32": "fit",
        "inside `fit`, bf16-mixed": "fit, bf16-mixed",
        "the same draws and updates in a bare loop": "bare",
        "a plain PyTorch loop in float32": "plain",
    }.items():
        cells = [rates[f"{network}, {what}"] for network in ("dqn", "net1", "net2", "net3")]
        assert "| " + " | ".join([row, *cells]) + " |" in lines
    hours = found["hours_an_hour"]
    assert f"| play, 60 environments, steps a second | {rates['play, ours']} | |" in lines
    assert f"| the environments alone | {rates['play, environment']} | |" in lines
    assert f"| both, smallest network: simulated hours an hour | {hours:.0f} | |" in lines
    assert f"| the paper's 500 hours at that rate, minutes | {500 * 60 / hours:.0f} | 15, missed |" in lines


def test_the_table_of_a_learning_teacher_is_what_was_measured():
    """The README's table of a DQN and its students is that of the figure above it."""
    with (ROOT / "conf" / "results" / "online" / "figure5.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) - 1 == 20
    for column, name in {"dqn": "DQN", "student0": "student, seed 0", "student1": "student, seed 1"}.items():
        scores = {int(row["hour"]): float(row[column]) for row in rows if row["hour"] != "0"}
        cells = [name, f"{max(scores.values()):.1f}", f"{scores[20]:.1f}", f"{unsteadiness(scores):.2f}"]
        assert "| " + " | ".join(cells) + " |" in README.splitlines()
    assert "](conf/results/online/figure5.png)" in README
