"""Evaluation from starts while a student learns."""

import csv
import os
import subprocess
import sys

import lightning as L
import pytest
import torch

from callbacks.human_start import HumanStartEvaluation
from distill.atari.starts import Starts
from distill.cli import main
from distill.data import ReplayDataModule
from distill.engine import frozen_policy
from distill.evaluation import EvalConfig, score_episodes
from distill.student import StudentModule
from distill.weights.load import load_network


@pytest.fixture(scope="module")
def starts(make_teacher, tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("starts") / "pong.starts")
    main(["draw-starts", make_teacher("pong", seed=1), "--out", path, "--episodes", "1", "--count", "3"])
    return path


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    """One process emulates all starts: each takes seconds to begin, at every evaluation."""
    monkeypatch.setattr("distill.atari.replayed.usable_cores", lambda: 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Let a student learn in a folder, from hours that all share; give its weights."""
    store = str(tmp_path_factory.mktemp("hours"))

    def learn(folder: str, *more: str) -> dict[str, torch.Tensor]:
        config = ["--config", "conf/compress.yaml", "--config", "conf/debug.yaml", "--run_dir", folder]
        main(["fit", *config, "--data.store", store, "--data.eval_episodes=1", *more])
        return load_network(f"{folder}/student.safetensors")[0].state_dict()

    return learn


def metrics(folder) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))


def test_it_scores_and_changes_nothing(starts, run, workdir):
    """The student's weights are bit-equal with and without it; score and share of the teacher's score are logged."""
    callback = ["--trainer.callbacks+=callbacks.human_start.HumanStartEvaluation"]
    options = [f"--trainer.callbacks.starts={starts}", "--trainer.callbacks.max_frames=1500"]
    plain, watched = run("plain"), run("watched", *callback, *options)
    assert all(torch.equal(plain[name], watched[name]) for name in plain)
    rows = [row for row in metrics(workdir / "watched") if row["val/human_start_score"]]
    assert [row["step"] for row in rows] == ["16", "32"]  # updates
    rules = EvalConfig("pong", tuple(range(3)), 0, max_frames=1500, starts=Starts.load(starts))
    student, _ = load_network("watched/student.safetensors")
    teacher, _ = load_network("pong")
    score, best = (score_episodes(frozen_policy(network), rules).mean() for network in (student, teacher))
    assert float(rows[-1]["val/human_start_score"]) == pytest.approx(score)
    assert best > 0
    assert float(rows[-1]["val/human_start_ratio"]) == pytest.approx(score / best)


@pytest.mark.slow
def test_it_waits_for_its_hours(starts, run, workdir):
    """It scores every so many hours, and after the last."""
    more = ["--trainer.max_epochs=3", "--trainer.callbacks+=callbacks.human_start.HumanStartEvaluation"]
    more += [f"--trainer.callbacks.starts={starts}", "--trainer.callbacks.max_frames=900"]
    run("run", *more, "--trainer.callbacks.every_hours=2")
    assert [row["step"] for row in metrics(workdir / "run") if row["val/human_start_score"]] == ["32", "48"]


@pytest.mark.slow
def test_whatever_ends_the_run_the_last_hour_is_scored(starts, run, workdir):
    """Where a callback ends the run, the hour that turns out to be the last is scored, too."""
    ending = [
        "--trainer.callbacks+=lightning.pytorch.callbacks.EarlyStopping",
        "--trainer.callbacks.monitor=train/loss",
    ]
    ending += ["--trainer.callbacks.stopping_threshold=1e9", "--trainer.callbacks.check_on_train_epoch_end=true"]
    more = ["--trainer.callbacks+=callbacks.human_start.HumanStartEvaluation", "--trainer.callbacks.every_hours=2"]
    more += [f"--trainer.callbacks.starts={starts}", "--trainer.callbacks.max_frames=900"]
    run("run", "--trainer.max_epochs=3", *ending, *more)
    assert [row["step"] for row in metrics(workdir / "run") if row["val/human_start_score"]] == ["16"]


def test_each_teacher_is_scored_once(starts, make_teacher):
    """The share is of the teacher that labels now, which is scored when it is first met."""
    callback = HumanStartEvaluation(starts, max_frames=900)
    first, second = (load_network(make_teacher("pong", seed=seed))[0] for seed in (0, 1))
    scored, logged = [], []
    callback.score = lambda network, trainer, device: scored.append(network) or float(len(scored))
    data = ReplayDataModule("pong", first)
    module = StudentModule("pong")
    module.log = lambda name, value: logged.append(value)
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.datamodule = data
    for teacher in (first, first, second):
        data.teachers["pong"].network = teacher
        callback.on_train_epoch_end(trainer, module)
    assert scored == [module.network, first, module.network, module.network, second]
    assert logged == [1.0, 1 / 2, 3.0, 3 / 2, 4.0, 4 / 5]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["starts=nowhere"], "no whole file of starts"),
        (["starts=STARTS", "every_hours=0"], "every_hours is 0"),
        (["starts=STARTS", "epsilon=2"], "epsilon is 2"),
    ],
)
def test_mistakes_are_one_line(starts, workdir, options, reason, capsys):
    """A missing file and values out of range are refused before anything is played."""
    args = ["--trainer.callbacks+=callbacks.human_start.HumanStartEvaluation"]
    args += [f"--trainer.callbacks.{option.replace('STARTS', starts)}" for option in options]
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "conf/compress.yaml", *args])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    assert not (workdir / "runs").exists()


def test_starts_of_another_game_are_refused(starts, workdir, capsys):
    """They are refused before anything is played."""
    args = ["--trainer.callbacks+=callbacks.human_start.HumanStartEvaluation", f"--trainer.callbacks.starts={starts}"]
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "conf/teacher_fast.yaml", "--data.game", "breakout", *args])
    assert stop.value.code == 2
    assert "starts are of pong; starts of breakout are needed" in capsys.readouterr().err


def test_a_teacher_that_learns_is_scored_too(starts, workdir):
    """Without a teacher of its own, a module has a score and no share."""
    args = ["--trainer.callbacks+=callbacks.human_start.HumanStartEvaluation"]
    args += [f"--trainer.callbacks.starts={starts}", "--trainer.callbacks.max_frames=900"]
    config = ["--config", "conf/teacher_fast.yaml", "--config", "conf/debug.yaml", "--run_dir", "run"]
    main(["fit", *config, *args, "--data.eval_episodes=1", "--trainer.max_epochs=1"])
    (row,) = (row for row in metrics(workdir / "run") if row["val/human_start_score"])
    assert "val/human_start_ratio" not in row


@pytest.mark.slow
def test_two_processes_share_the_starts(starts, workdir):
    """Two processes play some of the three starts each, and log the mean of all."""
    args = ["--config", "conf/compress.yaml", "--config", "conf/debug.yaml", "--run_dir", "run"]
    args += ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    args += ["--trainer.callbacks+=callbacks.human_start.HumanStartEvaluation"]
    args += [f"--trainer.callbacks.starts={starts}", "--trainer.callbacks.max_frames=1500"]
    command = [sys.executable, "-m", "distill", "fit", *args]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    row = [row for row in metrics(workdir / "run") if row["val/human_start_score"]][-1]
    rules = EvalConfig("pong", (0, 1, 2), 0, max_frames=1500, starts=Starts.load(starts))
    scores = score_episodes(frozen_policy(load_network("run/student.safetensors")[0]), rules)
    assert float(row["val/human_start_score"]) == pytest.approx(scores.mean())
