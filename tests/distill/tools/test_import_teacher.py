"""`import-teacher`, and what foreign teachers can be used for."""

import gzip
import hashlib
import json
import re

import lightning as L
import pytest
import torch

from distill.cli import main
from distill.data import ReplayDataModule
from distill.losses import nll_loss
from distill.networks import DQN
from distill.student import StudentModule
from distill.weights.files import save_network
from distill.weights.load import load_network

SHORT = ["--config", "conf/compress.yaml", "--config", "conf/debug.yaml", "--trainer.max_epochs", "1"]
SHORT += ["--data.eval_episodes", "1", "--data.max_frames", "400", "--data.hour_steps", "240"]


@pytest.fixture
def foreign(workdir) -> str:
    """A small untrained agent in the format of atari-agents, with all 18 actions."""
    torch.manual_seed(0)
    network = DQN((4, 4, 4, 8), 18)
    parts = ("features.0", "features.2", "features.4", "head.0", "head.2")
    state = {
        f"_AtariNet__{theirs}.{part}": network.state_dict()[f"{ours}.{part}"]
        for ours, theirs in zip(("conv1", "conv2", "conv3", "fc1", "out"), parts, strict=True)
        for part in ("weight", "bias")
    }
    torch.save({"estimator_state": state}, "agent")
    (workdir / "agent.gz").write_bytes(gzip.compress((workdir / "agent").read_bytes()))
    return "agent.gz"


@pytest.fixture
def policy(workdir) -> str:
    """A file of ours that holds a policy, as `import-teacher` leaves it."""
    torch.manual_seed(0)
    save_network(workdir / "policy.safetensors", DQN((4, 4, 4, 8), 6), {"game": "pong", "kind": "policy"})
    return "policy.safetensors"


def test_it_says_what_it_recognised_and_keeps_it(foreign, workdir, capsys):
    """It prints library, network, actions, preprocessing and score, which the file then holds; that plays alike."""
    main(["import-teacher", foreign, "--game", "pong", "--out", "new/teacher.safetensors", "--max_frames", "1000"])
    shown = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    network, header = load_network("new/teacher.safetensors")
    theirs, _ = load_network(foreign, "pong")
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name
    known = header["imported"]
    assert known["sha256"] == hashlib.sha256((workdir / foreign).read_bytes()).hexdigest()
    assert (known["file"], header["kind"], header["rules"]) == (foreign, "values", {"full_action_set": True})
    assert header["score"]["episodes"] == 5
    assert "epsilon 0.05, all 18 actions, at most 1,000 frames" in header["protocol"]
    low, high = header["score"]["interval95"]
    for said in (
        "atari-agents",
        "DQN or M-DQN",
        "4, 4, 4, 8 and 18 actions; ",
        "NOOP, FIRE, UP, RIGHT, LEFT, DOWN, UPRIGHT",
        "play all 18 actions",
        "pixels 0 to 1",
        "stack oldest first; at an episode's start zeros, as here",
        "picture grey, by area, maximum of two frames; here grey, maximum of two frames, by area",
        f"for {known['equal_actions']:.1%} of 1,000 observations seen both ways",
        f"score {header['score']['mean']:.1f} ({low:.1f} to {high:.1f})",
        "written: new/teacher.safetensors",
    ):
        assert said in shown, said


def test_mistakes(foreign, policy, workdir, capsys):
    """What cannot be imported is refused in one line, and nothing is written."""
    (workdir / "same.safetensors").write_bytes((workdir / foreign).read_bytes())
    before = sorted(workdir.iterdir())
    for args, message in [
        ([foreign, "--out", "a.safetensors"], "say which game"),
        ([foreign, "--game", "pong", "--out", "a.zip"], "must end in .safetensors"),
        (["same.safetensors", "--game", "pong", "--out", "same.safetensors"], "which is what is read"),
        ([policy, "--out", "a.safetensors"], "needs no import"),
        (["none", "--game", "pong", "--out", "a.safetensors"], "neither a file nor a shipped teacher"),
        ([foreign, "--game", "pong", "--out", "a.safetensors", "--episodes", "0"], "must be 1 or more"),
    ]:
        with pytest.raises(SystemExit) as stop:
            main(["import-teacher", *args])
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert sorted(workdir.iterdir()) == before


def test_a_foreign_file_teaches(foreign, workdir):
    """`fit` takes it as it is."""
    main(["fit", *SHORT, "--data.teacher", foreign, "--run_dir", "run"])
    scores = json.loads((workdir / "run" / "scores.json").read_text())
    assert scores["teacher"]["file_bytes"] == (workdir / foreign).stat().st_size
    assert load_network("run/student.safetensors")[1]["trained"]["teacher"] == foreign


def test_a_policy_is_learned_as_probabilities(policy, workdir, capsys):
    """KL at temperature 1 takes a policy's logits as they are; other losses are refused before the run begins."""
    for args in (["kl"], ["reverse_kl"], ["jsd"], ["mse"], ["gap", "--model.temperature", "1"]):
        with pytest.raises(SystemExit) as stop:
            main(["fit", *SHORT, "--data.teacher", policy, "--run_dir", "run", "--model.loss_name", *args])
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert "the teacher of pong is a policy" in error
        assert "loss_name must be kl, reverse_kl or jsd with temperature 1.0, or nll" in error
        assert error.count("\n") == 1
        assert not (workdir / "run").exists()
    main(["fit", *SHORT, "--data.teacher", policy, "--run_dir", "run", "--model.temperature", "1"])
    assert (workdir / "run" / "student.safetensors").is_file()


def test_a_policy_is_refused_from_python(policy, small, tmp_path):
    """A Trainer asks, too, before anything is played; `nll`, which looks at the best action alone, is allowed."""
    data = ReplayDataModule("pong", policy, **small)
    quiet = {"logger": False, "enable_checkpointing": False, "num_sanity_val_steps": 0}
    trainer = L.Trainer(max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, **quiet)
    with pytest.raises(ValueError, match="the teacher of pong is a policy"):
        trainer.fit(StudentModule("pong"), data)
    assert not (tmp_path / "hours").exists()
    StudentModule("pong", loss_name="nll").check_teachers(data.teacher_kinds)
    for loss in ("kl", "reverse_kl", "jsd"):
        StudentModule("pong", loss_name=loss, temperature=1).check_teachers(data.teacher_kinds)

    class Other(StudentModule):
        def loss(self, batch):
            return nll_loss(self(batch.observations), batch.labels)

    Other("pong", loss_name="mse").check_teachers(data.teacher_kinds)  # its author knows what it takes
    StudentModule("pong").check_teachers({"pong": "values"})
