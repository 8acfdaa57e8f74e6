"""Where curves go: W&B, offline and read back from its file, and TensorBoard; with metrics.csv beside them."""

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from distill.cli import main
from distill.networks import build
from distill.runs.scores import flat_scores
from distill.weights.best import BestNetworks, rounded

CONF = Path(__file__).parents[3] / "conf"
WANDB = ["--config", "conf/logger/wandb.yaml"]
SHORT = [
    *("--config", "conf/debug.yaml", "--data.updates_per_hour=8", "--data.eval_episodes=2", "--model.network=net3"),
]


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """The working directory of a run with all loggers: of a student whose teacher becomes better after an hour."""
    folder = tmp_path_factory.mktemp("logged")
    (folder / "conf").symlink_to(CONF)
    writer = BestNetworks(folder / "teacher", "pong", 0)
    torch.manual_seed(0)
    for hour, score in enumerate([-21.0, -10.0, -14.0]):
        writer.scored(hour, score, rounded(build("net3", num_actions=6)), {"game": "pong"})
    writer.end()
    writer.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_DATA_DIR", str(folder / "staging"))
        more = ["--config", "conf/logger/tensorboard.yaml", *WANDB, *SHORT]
        main(["fit", "--config", "conf/online_student.yaml", *more, "--data.teacher=teacher", "--run_dir", "runs/a/0"])
    return folder / "runs" / "a" / "0"


@pytest.fixture(scope="module")
def records(logged):
    """All that W&B's file holds."""
    (file,) = logged.glob("wandb/offline-run-*/*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def updates(records, kind: str) -> dict:
    """Merge what the records of a kind brought."""
    merged = {}
    for record in records:
        if record["type"] == kind:
            merged |= record[kind]["update"]
    return merged


def history(records, name: str) -> list[tuple[float, float]]:
    """List a metric with the updates at which it stands."""
    items = [record["history"]["item"] for record in records if record["type"] == "history"]
    return [(item["trainer/global_step"], item[name]) for item in items if name in item]


def test_curves_stand_at_the_updates_taken(logged, records):
    """Curves, hours and who labelled arrive in W&B at the numbers of updates, as in metrics.csv; nothing at blocks."""
    assert [step for step, _ in history(records, "train/loss")] == [4, 8, 12, 16]
    assert history(records, "hour") == [(8, 1), (16, 2)]
    assert history(records, "online/teachers_hour") == [(8, 0), (16, 1)]
    assert history(records, "online/teachers_score") == [(8, -21), (16, -10)]
    (axis,) = [record["metric"] for record in records if "glob_name" in record.get("metric", {})]
    assert axis["step_metric"] == "trainer/global_step"
    with (logged / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in ("train/loss", "val/score", "online/teachers_hour"):
        written = [(float(row["step"]), float(row[name])) for row in rows if row[name]]
        assert history(records, name) == written


def test_each_row_says_when(logged):
    """The first columns are hour, updates, seconds and updates a second; the seconds never go back."""
    with (logged / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["hour", "step", "seconds", "updates_per_second"]
    assert [float(row["hour"]) for row in rows] == [int(row["step"]) / 8 for row in rows]
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)


def test_the_whole_config_is_there(records):
    """W&B's config has each option, the defaults too; the run's name there says which folder it is."""
    config = updates(records, "config")
    assert config["model"]["init_args"]["temperature"] == 0.01
    assert config["model"]["init_args"]["decay"] == 0.95  # a default
    assert config["data"]["init_args"]["hour_steps"] == 240
    assert config["trainer"]["callbacks"][0]["init_args"]["teacher_run"].endswith("/teacher")
    (run,) = [record["run"] for record in records if record["type"] == "run"]
    assert (run["project"], run["display_name"]) == ("distill", "a/0")


def test_the_scores_are_a_table_and_a_summary(logged, records):
    """What scores.json says of teacher and student is W&B's summary, and a table; the run has ended there."""
    scores = json.loads((logged / "scores.json").read_text())
    summary = updates(records, "summary")
    assert flat_scores(scores)["student/score_low"] == scores["student"]["interval95"][0]
    for name, value in flat_scores(scores).items():
        assert summary[name] == pytest.approx(value)
    assert summary["protocol"] == scores["protocol"]
    (file,) = logged.glob("wandb/offline-run-*/files/media/table/*.json")
    table = json.loads(file.read_text())
    assert [row[:3] for row in table["data"]] == [["pong", who, scores[who]["mean"]] for who in ("teacher", "student")]
    assert table["data"][1][-1] == scores["random_adjusted_ratio"]
    assert records[-1]["type"] in ("exit", "final", "footer")


def test_play_is_a_video(logged):
    """A short film of the student is in the run's folder, and W&B has a copy."""
    (copy,) = logged.glob("wandb/offline-run-*/files/media/videos/play/*.mp4")
    assert copy.read_bytes() == (logged / "pong.mp4").read_bytes()
    assert b"ftyp" in copy.read_bytes()[:16]


def test_tensorboard_has_curves_config_and_scores(logged):
    """TensorBoard's files are in the run's folder, with the same curves."""
    curves = EventAccumulator(str(logged))
    curves.Reload()
    assert [event.step for event in curves.Scalars("train/loss")] == [4, 8, 12, 16]
    scores = json.loads((logged / "scores.json").read_text())
    assert curves.Scalars("student/score")[-1].value == pytest.approx(scores["student"]["mean"])
    assert b"decay: 0.95" in curves.Tensors("config/text_summary")[0].tensor_proto.string_val[0]
    assert not (logged / "hparams.yaml").exists()


def test_scores_of_several_games_are_named_by_them():
    """With several games each has its numbers, beside the means of all; what is undefined is left out."""
    of = {"teacher": {"mean": 2.0, "interval95": [1.0, 3.0]}, "student": {"mean": 1.0, "interval95": [0.0, 2.0]}}
    scores = {"games": {"pong": {**of, "ratio": 0.5}, "qbert": of}, "geometric_mean_ratio": 0.5}
    flat = flat_scores({**scores, "geometric_mean_random_adjusted_ratio": None})
    assert flat["qbert/student/score_high"] == 2
    assert flat["pong/student/ratio"] == flat["geometric_mean_ratio"] == 0.5
    assert not {"qbert/student/ratio", "geometric_mean_random_adjusted_ratio"} & set(flat)


def test_without_its_package(workdir, monkeypatch, capsys):
    """A logger whose package is missing says how to install it, in one line, before a run begins."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *_: None if name == "tensorboard" else found(name, *_)
    )
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "conf/compress.yaml", "--config", "conf/logger/tensorboard.yaml", *SHORT])
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert "tensorboard is missing; pip install" in err
    assert len(err.strip().splitlines()) == 1
    assert not (workdir / "runs").exists()


def test_without_an_account(workdir, monkeypatch, capsys):
    """Where W&B knows nobody, one line says what else can be done, and nothing is left behind."""
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    wandb.teardown()  # which would remember that it was offline
    monkeypatch.setenv("HOME", str(workdir / "home"))
    monkeypatch.setenv("NETRC", str(workdir / "netrc"))
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "conf/compress.yaml", *WANDB, *SHORT])
    assert stop.value.code == 2
    assert "WANDB_MODE=offline needs no account" in capsys.readouterr().err.splitlines()[-1]
    assert not (workdir / "runs").exists()
