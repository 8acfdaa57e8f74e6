"""`status`: how far runs are, by the folders that real runs left."""

import signal
import subprocess
import sys

import pytest

from distill.cli import main
from distill.runs.folder import alone_in
from distill.tools.status import status


def fit(*args: str) -> None:
    main(["fit", "--config", "compress", "--config", "debug", *args])


def test_a_run_that_has_ended_or_failed_says_so(workdir, capsys, make_teacher):
    """One line each; a failed run has its reason, and how to go on."""
    fit("--run_dir", "runs/whole", "--data.teacher", make_teacher("pong"))
    with pytest.raises(SystemExit):
        fit("--run_dir", "runs/wrong", "--data.teacher", make_teacher("pong"), "--model.learning_rate", "1e30")
    files = workdir / "runs" / "whole" / "wandb" / "files"  # what lies in a run's folder is no other run
    files.mkdir(parents=True)
    (files / "config.yaml").write_text("wandb_version: 1")
    capsys.readouterr()
    failed, whole = sorted(status(), key=lambda of: of["state"] == "ended")
    assert (whole["state"], whole["hour"], whole["hours"]) == ("ended", 2, 2)
    assert "val/score" in whole
    assert failed["state"] == "failed"
    assert "the loss of update" in failed["reason"] or "became infinite" in failed["reason"]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert any(line.startswith("runs/whole: ended \u00b7 hour 2/2 \u00b7 score ") for line in lines)
    assert any(line.endswith("python -m distill fit --resume runs/wrong") for line in lines)
    with alone_in(workdir / "runs" / "whole"):
        (state,) = status(["runs/whole"])
    assert state["state"] == "running"
    assert state["by"]


@pytest.mark.slow
def test_a_run_that_was_interrupted_says_how_to_go_on(workdir, capsys):
    """Ctrl-C is no failure."""
    command = [sys.executable, "-m", "distill", "fit", "--config", "compress", "--config", "debug", "--run_dir", "run"]
    with subprocess.Popen([*command, "--trainer.max_epochs=1000"], stderr=subprocess.PIPE, text=True) as process:
        next(line for line in process.stderr if " hour " in line)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    (state,) = status(["run"])
    assert state["state"] == "interrupted"
    assert state["resume"] == "python -m distill fit --resume run"


def test_mistakes(workdir, capsys):
    """What is no run is one line."""
    for given, said in (
        ("nowhere", "nowhere is no run's folder, and holds none"),
        ("conf/sweep", "conf/sweep is no run's folder"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["status", given])
        assert stop.value.code == 2
        assert said in capsys.readouterr().err
