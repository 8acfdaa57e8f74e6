"""The README's commands and code do what it says."""

import csv
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from same import same_weights

from distill.atari import Cartridge, action_names
from distill.cli import main
from distill.evaluation import geometric_mean, random_adjusted_ratio
from distill.human.play_log import LogWriter
from distill.paper.curves import unsteadiness
from distill.paper.published import GAME_NAMES
from distill.weights import load_network, shipped

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MULTITASK = ROOT / "conf" / "multitask3.yaml"
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
    """Each row of the README's benchmark is what its run wrote, and says so where it is short of the goal."""
    found = json.loads((ROOT / "conf" / "results" / "bench.json").read_text())
    table = [line.strip("| ").split(" | ") for line in README.splitlines() if line.startswith("| ")]
    rows = {row[0]: row[1:] for row in table}

    def holds(beginning: str, value: str, goal: float | None = None) -> None:
        (row,) = (row for name, row in rows.items() if name.startswith(beginning))
        assert row[0] == value
        assert goal is None or row[1].endswith("missed") == (float(value) < goal)

    holds("play: ours / bare", f"{found['play_over_ceiling']:.2f}", 0.90)
    holds("play: ours / Stable-Baselines3", f"{found['play_over_sb3']:.2f}", 2.0)
    holds("learning inside `fit`", f"{found['fit_over_bare']['net3']:.2f}", 0.95)
    holds("the same, full network", f"{found['fit_over_bare']['dqn']:.2f}", 0.95)
    holds("full network: `fit` in float32", f"{found['fit_over_plain']['dqn']:.2f}", 1.2)
    holds("full network: `fit` in bf16", f"{found['fit_bf16_over_plain']['dqn']:.2f}", 1.5)
    holds("drawing a minibatch", f"{found['sample_over_update']:.2f}")
    holds("memory: bytes", f"{found['bytes_sb3_over_ours']:.0f}", 30)
    holds("disk", f"{found['disk_bytes_per_hour'] / 1e6:.1f}")
    holds("smallest network, play and learning", f"{found['hours_an_hour']:.0f}")
    holds("four temperatures", f"{found['sharing_over_ideal']:.2f}")
    holds("100 starts", f"{found['evaluation_over_sb3']:.1f}", 5)
    holds("the same, `evaluate", f"{found['evaluation_bf16_over_sb3']:.1f}")


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


@pytest.fixture(scope="module")
def starts(tmp_path_factory) -> Path:
    """What the README's `draw-starts` makes, but of one episode."""
    path = tmp_path_factory.mktemp("starts") / "pong.starts"
    main(["draw-starts", "pong", "--out", str(path), "--episodes", "1", "--epsilon", "1", "--count", "3"])
    return path


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("fit --config conf/")])
def test_a_fit_command_runs_shrunken(command, workdir, starts, stand_ins):
    """Each `fit` in the README runs, given conf/debug.yaml."""
    (workdir / "pong.starts").symlink_to(starts)
    shrunken = ["--config", "conf/debug.yaml", "--data.max_frames=400", "--data.eval_episodes=2"]
    if "human_start" in command:
        shrunken.append("--trainer.callbacks.max_frames=1000")
    config = ROOT / re.search(r"--config (\S+)", command)[1]
    main([*shlex.split(command), *shrunken, *stand_ins(config)])
    assert list((workdir / "runs").rglob("scores.json"))


def test_scores_and_starts_as_in_the_readme(workdir, capsys):
    """The commands about scores, and `export`, run shortened one after the other on the run that the README made."""
    main(["fit", "--config", "conf/compress.yaml", "--config", "conf/debug.yaml"])
    short = {
        "draw-starts": ["--episodes", "1", "--epsilon", "1", "--count", "3"],
        "evaluate": ["--episodes", "2", "--max_frames", "1000"],
        "export": [],
        "import-starts": ["--count", "10"],
    }
    log = LogWriter(workdir / "breakout.txt", "breakout", player="Ada", licence="CC0-1.0")
    cartridge = Cartridge("breakout")
    for action in [1, 3, 4, 3] * 25:
        screen = cartridge.screen
        log.add(screen, action, cartridge.act(action))
    log.close()
    found = [one for one in COMMANDS if one.split()[0] in short and not re.search("--game |evaluate teacher", one)]
    assert {command.split()[0] for command in found} == set(short)
    for command in found:
        main([*shlex.split(command), *short[command.split()[0]]])
    assert {"scores.json", "pong.starts", "pong.mp4", "breakout.starts"} <= {path.name for path in workdir.iterdir()}
    assert "not human" in capsys.readouterr().out


def test_a_game_of_several_is_scored_as_in_the_readme(workdir, stand_ins, capsys):
    """The README's `evaluate --game` scores one game of the run that it made before."""
    short = ["--config", "conf/debug.yaml", "--data.max_frames=400", "--data.eval_episodes=2"]
    main(["fit", "--config", "conf/multitask3.yaml", *short, *stand_ins(MULTITASK)])
    (command,) = (command for command in COMMANDS if "--game " in command and command.startswith("evaluate"))
    main([*shlex.split(command), "--episodes", "2", "--max_frames", "1000"])
    assert "pong: no-op starts" in capsys.readouterr().out


def test_a_teacher_and_its_students_as_in_the_readme(workdir, capsys):
    """The README's `report` draws what its `online` ran; a student started alone by its printed command is the same."""
    online, report, _ = (one for one in COMMANDS if one.split()[0] in ("online", "report"))
    shrunken = ["--teacher.config", "conf/debug.yaml", "--student.config", "conf/debug.yaml", "--seeds", "[0]"]
    main([*shlex.split(online), *shrunken])
    out, err = capsys.readouterr()
    assert "teacher  play  hour" in err
    assert "student0 play  hour" in err
    (line,) = [line for line in out.splitlines() if line.startswith("student0: ")]
    alone = line.removeprefix("student0: ").replace("runs/online/0/student0", "alone")
    subprocess.run(["env", *shlex.split(alone)], check=True, capture_output=True)
    once, again = (load_network(f"{run}/student.safetensors")[0] for run in ("runs/online/0/student0", "alone"))
    assert same_weights(once, again)
    main(shlex.split(report))
    files = {"figure5.png", "figure5.csv", "report.md", "report.html"}
    assert files <= {path.name for path in (workdir / "report").iterdir()}
    assert "below its own running best" in capsys.readouterr().out


def test_a_sweep_runs_as_in_the_readme(workdir, capsys):
    """The README's `sweep` runs its first two points, shrunken, and draws them."""
    (command,) = (command for command in COMMANDS if command.startswith("sweep"))
    main([*shlex.split(command), "--count", "2", "--fit.config", "conf/debug.yaml", "--fit.trainer.logger=null"])
    assert list((workdir / "runs").glob("sweep-*/0/sweep.png"))


def test_a_table_is_planned_as_in_the_readme(workdir, capsys):
    """The README's `reproduce` knows what it would run: losses, temperatures, mergers and sizes."""
    commands = [command for command in COMMANDS if command.startswith("reproduce")]
    for command, runs in zip(commands, (12, 6, 3, 16, 3, 1, 20), strict=True):
        main([*shlex.split(command), "--dry_run"])
        assert len(re.findall(r"-seed\d: ", capsys.readouterr().out)) == runs


def test_another_librarys_teacher_as_in_the_readme(workdir, capsys):
    """The README's `import-teacher` reads what Stable-Baselines3 wrote, and its `evaluate` plays that."""
    import gymnasium
    from stable_baselines3 import DQN

    space = gymnasium.spaces.Box(0, 255, (84, 84, 4), np.uint8)

    class Empty(gymnasium.Env):
        observation_space, action_space = space, gymnasium.spaces.Discrete(6)

    DQN("CnnPolicy", Empty(), buffer_size=1).save("agent.zip")
    for command in COMMANDS:
        if command.startswith(("import-teacher", "evaluate teacher")):
            main([*shlex.split(command), "--episodes", "1", "--max_frames", "400"])
    assert "Stable-Baselines3" in capsys.readouterr().out


def test_validate_runs_on_the_runs_that_the_readme_made(workdir, capsys):
    """The README's `validate` scores the first run of conf/compress.yaml, and its `fit --resume` ends it once more."""
    main(["fit", "--config", "conf/compress.yaml", "--config", "conf/debug.yaml"])
    (resume,) = (command for command in COMMANDS if command.startswith("fit --resume"))
    main(shlex.split(resume))
    (command,) = (command for command in COMMANDS if command.startswith("validate"))
    main(shlex.split(command))
    assert re.search(r"pong: -?\d", capsys.readouterr().out)


*CLASSES, SCRIPT, ACTING = re.findall(r"```python\n(.+?)```", README, re.DOTALL)
EXAMPLES = dict(zip(["MyStudent", "Wide", "Enough"], CLASSES, strict=True))


def test_the_script_does_what_fit_does(workdir, small):
    """The README's script, shrunken, leaves a student that acts, and its scores; its weights are those of `fit`."""
    few = ", ".join(f"{name}={value!r}" for name, value in small.items() if name != "store")
    script = SCRIPT.replace('store="hours"', f'store="hours", {few}')
    assert script != SCRIPT
    exec(script, {})
    scores = json.loads((workdir / "runs" / "script" / "scores.json").read_text())
    assert scores["student"]["episodes"] == small["eval_episodes"]
    known = {"observations": torch.randint(0, 256, (5, 4, 84, 84), dtype=torch.uint8)}
    exec(ACTING, known)
    assert set(known["actions"]) <= set(action_names("pong"))
    options = [f"--data.{name}={value}" for name, value in small.items() if name != "store"]
    options += ["--data.store=hours", "--model.learning_rate=[[1.5, 1e-3], [3, 5e-5]]", "--trainer.precision=null"]
    main(["fit", "--config", "compress", "--run_dir", "run", *options])
    network, header = load_network("run/student.safetensors")
    assert all(
        torch.equal(weights, known["network"].state_dict()[name]) for name, weights in network.state_dict().items()
    )
    assert header == known["header"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name, workdir, monkeypatch, capsys):
    """Each of the README's classes runs by its command; a network goes on and is scored; no other command builds it."""
    (workdir / "my_file.py").write_text(EXAMPLES[name])
    monkeypatch.syspath_prepend(workdir)
    monkeypatch.delitem(sys.modules, "my_file", raising=False)
    (command,) = (command for command in COMMANDS if f"my_file.{name}" in command)
    main([*shlex.split(command), "--config", "conf/debug.yaml"])
    config = yaml.safe_load((workdir / "runs" / "compress" / "0" / "config.yaml").read_text())
    classes = [config["model"]["class_path"], *(of["class_path"] for of in config["trainer"]["callbacks"] or [])]
    assert f"my_file.{name}" in classes
    if name == "Wide":
        main(["fit", "--resume", "runs/compress/0", "--trainer.max_epochs", "3"])
        capsys.readouterr()
        main(["validate", "--ckpt_path", "runs/compress/0/checkpoints/last.ckpt"])
        assert re.search(r"^pong: -?\d", capsys.readouterr().out, re.MULTILINE)
        for file in ("student.safetensors", "checkpoints/last.ckpt"):
            with pytest.raises(SystemExit) as stop:
                main(["evaluate", f"runs/compress/0/{file}"])
            assert stop.value.code == 2
            assert "its network is its maker's own; validate --ckpt_path" in capsys.readouterr().err


def test_another_game_as_in_the_readme(workdir):
    """The README's two commands train a teacher of another game, and a student of it."""
    teach, learn = (command for command in COMMANDS if "--data.game breakout" in command and "config" in command)
    for command in (teach, learn):
        main([*shlex.split(command), "--config", "conf/debug.yaml"])
    scores = json.loads((workdir / "runs" / "compress" / "0" / "scores.json").read_text())
    assert (scores["game"], scores["teacher"]["parameters"]) == ("breakout", 1_686_180)
