"""The README's commands and code do what it says, shrunken, one after the other."""

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

from distill.atari.cartridge import Cartridge, action_names
from distill.cli import main
from distill.tools.play_log import LogWriter
from distill.weights.load import load_network

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MULTITASK = ROOT / "conf" / "multitask3.yaml"
COMMANDS = list(dict.fromkeys(re.findall(r"python -m distill (.+)$", README, re.MULTILINE)))
FITS = [command for command in COMMANDS if command.startswith("fit --config conf/") and command.count(" ") > 2]
"""Those with options; that each config runs as it is shown by tests/test_conf.py."""


@pytest.fixture(scope="module")
def starts(tmp_path_factory) -> Path:
    """What the README's `draw-starts` makes, but of one episode."""
    path = tmp_path_factory.mktemp("starts") / "pong.starts"
    main(["draw-starts", "pong", "--out", str(path), "--episodes", "1", "--epsilon", "1", "--count", "3"])
    return path


@pytest.mark.parametrize("command", FITS)
def test_a_fit_command_runs_shrunken(command, workdir, starts, stand_ins):
    """Each `fit` with options in the README runs, given conf/debug.yaml."""
    (workdir / "pong.starts").symlink_to(starts)
    shrunken = ["--config", "conf/debug.yaml"]
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
    main(["fit", "--config", "conf/multitask3.yaml", "--config", "conf/debug.yaml", *stand_ins(MULTITASK)])
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
