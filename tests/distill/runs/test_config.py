"""A run's config says what was learned, wherever the run goes on and whatever stops it, by the commands people type."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open
from same import same_weights

from distill.cli import main
from distill.runs.config import changes, flat
from distill.weights.load import load_network


@pytest.fixture(scope="module")
def learned(make_teacher, tmp_path_factory) -> Path:
    """A run of two short hours, whose teacher and store were given by relative paths."""
    folder = tmp_path_factory.mktemp("learned")
    shutil.copy(make_teacher("pong"), folder / "mine.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        options = ["--data.teacher", "mine.safetensors", "--data.store", "hours"]
        main(["fit", "--config", "compress", "--config", "debug", "--run_dir", "run", *options])
    return folder


@pytest.fixture
def run(learned, tmp_path, monkeypatch) -> Path:
    """A copy of that run's folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(learned / "run", tmp_path / "run"))


def refused(capsys, *args: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["fit", *args])
    assert stop.value.code in (1, 2)
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_what_changes_is_said_and_the_former_config_stays(run, capsys):
    """From another folder, a run goes on with its paths; a change is printed, and each config has its hours."""
    before = (run / "config.yaml").read_text()
    main(["fit", "--resume", str(run), "--trainer.max_epochs", "3", "--model.temperature", "0.5"])
    out = capsys.readouterr().out
    assert "model.temperature 0.01 -> 0.5 from hour 2" in out
    assert "trainer.max_epochs 2 -> 3 from hour 2" in out
    log = (run / "log.txt").read_text().splitlines()
    assert any(line.endswith("trainer.max_epochs 2 -> 3 from hour 2") for line in log)
    assert sum(" done  hour " in line for line in log) == 2  # of both runs
    assert (run / "config.until_hour2.yaml").read_text() == before
    assert flat(yaml.safe_load((run / "config.yaml").read_text()))["model.init_args.temperature"] == 0.5


def test_a_config_under_which_nothing_was_learned_is_not_kept(run, capsys):
    """Where a run that goes on fails before its first checkpoint, its config is as it was, and it can go on so."""
    before = (run / "config.yaml").read_text()
    said = refused(capsys, "--resume", str(run), "--trainer.max_epochs=3", "--model.learning_rate=1e30")
    assert "the loss of update" in said or "became infinite" in said
    assert (run / "config.yaml").read_text() == before
    main(["fit", "--resume", str(run)])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data.hour_steps=480"], "data.hour_steps was 240 and is 480; it cannot change in the midst of a run"),
        (["--config", "compress"], "it cannot change in the midst of a run"),
        (["--seed_everything=3"], "seed_everything was 0 and is 3"),
    ],
)
def test_what_cannot_change_is_refused(run, capsys, options, said):
    """One line names it, and nothing is written."""
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert said in refused(capsys, "--resume", str(run), *options)
    assert {path: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_a_run_killed_between_checkpoint_and_config_goes_on_as_it_learned(run):
    """The checkpoint says under which config it was learned; a config that is older or newer is written again."""
    before = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(before.replace("temperature: 0.01", "temperature: 0.7"))
    main(["fit", "--resume", str(run)])
    assert (run / "config.yaml").read_text() == before


def test_a_runs_config_makes_the_run_again(run, tmp_path):
    """In a new folder, named after the run, with the same weights."""
    main(["fit", "--config", str(run / "config.yaml")])
    again = tmp_path / "runs" / "run" / "0"
    networks = (load_network(str(folder / "student.safetensors"))[0] for folder in (again, run))
    assert same_weights(*networks)
    assert changes((run / "config.yaml").read_text(), (again / "config.yaml").read_text()) == []


def test_lmbda_is_kept_and_makes_the_run_again(make_teacher, workdir):
    """A student that acts by `lmbda` learns what one does by `beta`; its config makes it again; its header says all."""
    short = ["--config", "compress", "--config", "debug", "--data.teacher", make_teacher("pong")]
    short += ["--model.loss_name", "jsd", "--model.jsd_beta", "0.3"]
    main(["fit", *short, "--run_dir", "one", "--data.lmbda", "[[0, 0], [2, 0.7]]"])
    main(["fit", *short, "--run_dir", "other", "--data.beta", "[[0, 1], [2, 0.3]]"])
    main(["fit", "--config", "one/config.yaml", "--run_dir", "again"])
    one, *others = (load_network(f"{run}/student.safetensors")[0] for run in ("one", "other", "again"))
    assert all(same_weights(one, other) for other in others)
    assert changes(Path("one/config.yaml").read_text(), Path("again/config.yaml").read_text()) == []
    assert load_network("again/student.safetensors")[1]["trained"]["jsd_beta"] == 0.3


def test_a_run_leaves_nothing_in_the_environment(run):
    """A run that the same process begins later, or a process that it starts, does not take this run's folder."""
    assert "DISTILL_RUN_DIR" not in os.environ


def test_a_weight_file_says_how_it_was_made(run):
    """Loss, temperature, optimiser, hours and versions are in the header."""
    with safe_open(run / "student.safetensors", "pt") as file:
        trained = json.loads(file.metadata()["distill"])["trained"]
    assert (trained["loss_name"], trained["temperature"], trained["optimizer"]) == ("kl", 0.01, "RMSprop")
    assert (trained["hours"], trained["updates"]) == (2, 32)
    assert {"distill", "torch", "ale_py"} <= set(trained["versions"])


@pytest.mark.parametrize("in_a_file", [True, False])
def test_an_option_that_a_config_cannot_hold_is_refused(workdir, capsys, in_a_file):
    """Before the run: its config could not be read again."""
    name = "lightning.pytorch.callbacks.StochasticWeightAveraging"
    averaging = [f"--trainer.callbacks+={name}", "--trainer.callbacks.swa_lrs=0.1"]
    if in_a_file:
        callback = {"class_path": name, "init_args": {"swa_lrs": 0.1}}
        Path("averaging.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [callback]}}))
        averaging = ["--config", "averaging.yaml"]
    said = refused(capsys, "--config", "compress", "--config", "debug", *averaging)
    assert "object" in said
    assert "that a config cannot hold; give a plain value, or leave its class out" in said
    assert not (workdir / "runs").exists()
