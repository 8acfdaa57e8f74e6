"""The commands and the code of all pages do what they say, shrunken, one after the other."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pages import COMMANDS, ROOT, SNIPPETS
from same import same_weights

from distill.atari.cartridge import Cartridge
from distill.atari.rules import PAPER_RULES
from distill.cli import main
from distill.console.configs import find_config
from distill.jobs.board import threads_of
from distill.tools.play_log import LogWriter
from distill.weights.load import load_network

pytestmark = pytest.mark.slow

MULTITASK = ROOT / "conf" / "multitask3.yaml"
FITS = [
    command
    for command in COMMANDS
    if command.startswith("fit --config") and not re.search("my_file|print_config|breakout|seaquest|datasets", command)
]
"""One after the other shrunken; the others in the tests that say so."""
BY_OTHERS = (
    "bench",
    "record",
    "report conf/results --write",
    "evaluate pong",
    "fit --config compress --print_config",
    "status",
)

"""What tests of these commands run, or no test can: a window to play in."""


def test_every_command_is_known():
    """Each command of each page begins as one that a test here runs, or another's."""
    begins = ("fit --config", "fit --resume", "validate", "evaluate runs", "evaluate teacher", "draw-starts", "export")
    begins += ("import-starts", "import-teacher", "online", "report conf/results/paper", "report runs", "sweep")
    begins += ("reproduce",)
    assert [command for command in COMMANDS if not command.startswith((*begins, *BY_OTHERS))] == []


@pytest.fixture(scope="module")
def starts(tmp_path_factory) -> Path:
    """What `draw-starts` makes, but of one episode."""
    path = tmp_path_factory.mktemp("starts") / "pong.starts"
    main(["draw-starts", "pong", "--out", str(path), "--episodes", "1", "--epsilon", "1", "--count", "3"])
    return path


@pytest.mark.parametrize("command", FITS)
def test_a_fit_command_runs_shrunken(command, workdir, starts, stand_ins):
    """Each runs, given conf/debug.yaml."""
    (workdir / "pong.starts").symlink_to(starts)
    shrunken = ["--config", "conf/debug.yaml"]
    if "human_start" in command:
        shrunken.append("--trainer.callbacks.max_frames=1000")
    config = ROOT / find_config(re.search(r"--config (\S+)", command)[1])
    if "online_student" in command:
        main(["fit", "--config", "conf/online_teacher.yaml", *shrunken])
    main([*shlex.split(command), *shrunken, *stand_ins(config)])
    assert list((workdir / "runs").rglob("scores.json"))


def test_scores_and_starts_as_in_the_pages(workdir, capsys):
    """The commands about scores, and `export`, run shortened one after the other on the run that the pages made."""
    main(["fit", "--config", "conf/compress.yaml", "--config", "conf/debug.yaml"])
    short = {
        "draw-starts": ["--episodes", "1", "--epsilon", "1", "--count", "3"],
        "evaluate": ["--episodes", "2", "--max_frames", "1000"],
        "export": [],
        "export-hours": [],
        "import-starts": ["--count", "10"],
    }
    log = LogWriter(workdir / "breakout.txt", "breakout", player="Ada", licence="CC0-1.0")
    cartridge = Cartridge("breakout")
    for action in [1, 3, 4, 3] * 25:
        screen = cartridge.screen
        log.add(screen, action, cartridge.act(action))
    log.close()
    found = [one for one in COMMANDS if one.split()[0] in short and "runs/multitask3" not in one]
    found = [one for one in found if not one.startswith(("evaluate teacher", "evaluate pong"))]
    assert {command.split()[0] for command in found} == set(short)
    for command in found:
        main([*shlex.split(command), *short[command.split()[0]]])
    (fit,) = (one for one in COMMANDS if "--data.teacher datasets" in one)
    main([*shlex.split(fit), "--config", "conf/debug.yaml"])
    assert {"scores.json", "pong.starts", "pong.mp4", "pong.gif", "breakout.starts"} <= {
        path.name for path in workdir.iterdir()
    }
    assert "not human" in capsys.readouterr().out


def test_a_game_of_several_is_scored_as_in_the_pages(workdir, stand_ins, capsys):
    """The pages' `evaluate --game` scores one game of the run that it made before."""
    main(["fit", "--config", "conf/multitask3.yaml", "--config", "conf/debug.yaml", *stand_ins(MULTITASK)])
    (command,) = (command for command in COMMANDS if "--game " in command and command.startswith("evaluate"))
    main([*shlex.split(command), "--episodes", "2", "--max_frames", "1000"])
    assert "pong: no-op starts" in capsys.readouterr().out


def test_a_teacher_and_its_students_as_in_the_pages(workdir, capsys):
    """The pages' `report` draws what its `online` ran; a student started alone by its printed command is the same."""
    (online,) = (one for one in COMMANDS if one.startswith("online"))
    (report,) = (one for one in COMMANDS if one.startswith("report runs"))
    shrunken = ["--teacher.config", "conf/debug.yaml", "--student.config", "conf/debug.yaml", "--seeds", "[0]"]
    main([*shlex.split(online), *shrunken])
    err = capsys.readouterr().err
    assert "[1/2] teacher  done  hour" in err
    assert "[2/2] student0 done  hour" in err
    (alone,) = re.findall(r"^\[2/2\] student0: (.+ fit .+)$", err, re.MULTILINE)
    alone = shlex.split(alone.replace("runs/online/0/student0", "alone"))
    subprocess.run(alone, check=True, capture_output=True, env={**os.environ, **threads_of(2)})
    once, again = (load_network(f"{run}/student.safetensors")[0] for run in ("runs/online/0/student0", "alone"))
    assert same_weights(once, again)
    main(shlex.split(report))
    files = {"figure5.png", "figure5.csv", "report.md", "report.html"}
    assert files <= {path.name for path in (workdir / "report").iterdir()}
    assert "below its own running best" in capsys.readouterr().out


def test_a_sweep_runs_as_in_the_pages(workdir, capsys):
    """The pages' `sweep` runs its first two points, shrunken, and draws them."""
    (command,) = (command for command in COMMANDS if command.startswith("sweep"))
    main([*shlex.split(command), "--count", "2", "--fit.config", "conf/debug.yaml", "--fit.trainer.logger=null"])
    assert list((workdir / "runs").glob("sweep-*/0/sweep.png"))


def test_a_table_is_planned_as_in_the_pages(workdir, capsys):
    """`reproduce` knows what it would run: losses, temperatures, sizes and mergers."""
    commands = [command for command in COMMANDS if command.startswith("reproduce")]
    for command, runs in zip(commands, (12, 16, 20, 3, 1), strict=True):
        main([*shlex.split(command), "--dry_run"])
        assert len(re.findall(r"-seed\d: ", capsys.readouterr().out)) == runs


def test_committed_runs_are_reported(workdir):
    """`report` makes the paper's tables of the runs that came along."""
    for command in (command for command in COMMANDS if command.startswith("report conf/results/paper")):
        arguments = shlex.split(command)
        arguments[1] = str(ROOT / arguments[1])
        main(arguments)
        assert (workdir / "report" / "report.html").is_file()


def test_another_librarys_teacher_as_in_the_pages(workdir, capsys):
    """The pages' `import-teacher` reads what Stable-Baselines3 wrote, and its `evaluate` plays that."""
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


def test_validate_runs_on_the_runs_that_the_pages_made(workdir, capsys):
    """The pages' `validate` scores the first run of conf/compress.yaml, and its `fit --resume` ends it once more."""
    main(["fit", "--config", "conf/compress.yaml", "--config", "conf/debug.yaml"])
    (resume,) = (command for command in COMMANDS if command.startswith("fit --resume"))
    main(shlex.split(resume))
    (command,) = (command for command in COMMANDS if command.startswith("validate"))
    main(shlex.split(command))
    assert re.search(r"pong: -?\d", capsys.readouterr().out)


LOSS, SCRIPT, *CLASSES, ACTING = SNIPPETS
EXAMPLES = {"MyStudent": LOSS, "MyStudent --model.confidence": CLASSES[0], "Wide": CLASSES[1], "Enough": CLASSES[2]}


def test_the_script_does_what_fit_does(workdir, small):
    """The pages' script, shrunken, leaves a student that acts, and its scores; its weights are those of `fit`."""
    few = ", ".join(f"{name}={value!r}" for name, value in small.items() if name != "store")
    script = SCRIPT.replace('store="hours"', f'store="hours", {few}')
    assert script != SCRIPT
    exec(script, {})
    scores = json.loads((workdir / "runs" / "script" / "scores.json").read_text())
    assert scores["student"]["episodes"] == small["eval_episodes"]
    known = {"observations": torch.randint(0, 256, (5, 4, 84, 84), dtype=torch.uint8)}
    exec(ACTING, known)
    assert set(known["actions"]) <= set(PAPER_RULES.action_names("pong"))
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
    """Each class of the pages runs by its command; a network goes on and is scored; no other command builds it."""
    (workdir / "my_file.py").write_text(EXAMPLES[name])
    monkeypatch.syspath_prepend(workdir)
    monkeypatch.delitem(sys.modules, "my_file", raising=False)
    command = next(command for command in COMMANDS if f"my_file.{name}" in command)
    main([*shlex.split(command), "--config", "conf/debug.yaml"])
    config = yaml.safe_load((workdir / "runs" / "compress" / "0" / "config.yaml").read_text())
    classes = [config["model"]["class_path"], *(of["class_path"] for of in config["trainer"]["callbacks"] or [])]
    assert f"my_file.{name.split()[0]}" in classes
    if name == "Wide":
        main(["fit", "--resume", "runs/compress/0", "--trainer.max_epochs", "3"])
        capsys.readouterr()
        main(["validate", "--ckpt_path", "runs/compress/0/checkpoints/last.ckpt"])
        assert re.search(r"^pong: -?\d", capsys.readouterr().out, re.MULTILINE)
        few = ["--episodes", "1", "--max_frames", "400"]
        for file in ("", "student.safetensors", "checkpoints/last.ckpt"):
            main(["evaluate", f"runs/compress/0/{file}", *few])
        short = ["--config", "compress", "--config", "debug", "--data.teacher", "runs/compress/0"]
        main(["fit", *short, "--model.temperature", "1"])  # its student
        with pytest.raises(SystemExit) as stop:
            main(["export", "runs/compress/0"])
        assert stop.value.code == 2
        assert "has a network of its own, Sequential; only those of" in capsys.readouterr().err


def test_another_game_as_in_the_pages(workdir):
    """Commands train a teacher of another game, and a student of it."""
    chosen = [command for command in COMMANDS if "breakout" in command and command.startswith("fit")]
    *others, teach, learn = [*(one for one in chosen if "runs/" not in one), *(one for one in chosen if "runs/" in one)]
    for command in (*others, teach, learn):
        main([*shlex.split(command), "--config", "conf/debug.yaml"])
    scores = json.loads((workdir / "runs" / "compress" / "1" / "scores.json").read_text())
    assert (scores["game"], scores["teacher"]["parameters"]) == ("breakout", 1_686_180)
    (other,) = (command for command in COMMANDS if "seaquest" in command)
    main([*shlex.split(other), "--config", "conf/debug.yaml"])
