"""Networks as files for others: the same answers, and what they are in the metadata."""

import io
import json

import numpy as np
import onnx
import pytest
import torch

from distill.cli import main
from distill.engine import frozen_policy, module_policy
from distill.files.packing import HEADER
from distill.networks import build
from distill.tools import export
from distill.weights.files import save_network
from distill.weights.load import load_network, load_teacher
from distill.weights.onnx_files import load_exported


@pytest.fixture
def several(tmp_path):
    """A network for two games, untrained."""
    torch.manual_seed(0)
    path = tmp_path / "several.safetensors"
    save_network(path, build("multi3", num_actions={"pong": 6, "breakout": 4}), {"game": ["pong", "breakout"]})
    return str(path)


def observations(number: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, 4, 84, 84), np.uint8)


@pytest.mark.parametrize("format", ["onnx", "torch", "safetensors"])
def test_one_game_of_several_answers_as_in_the_whole(several, workdir, capsys, format):
    """A restricted export gives that game's scores, for one observation or five, and says what it is."""
    main(["export", several, "--game", "breakout", "--format", format])
    assert "1,000 observations: largest difference" in capsys.readouterr().out
    whole = frozen_policy(load_network(several, "breakout")[0])
    (path,) = workdir.glob("several-breakout.*")
    if format == "onnx":
        policy, header = load_exported(path)
        assert header["actions"] == ["NOOP", "FIRE", "RIGHT", "LEFT"]
        assert header["stacked_frames"] == 4
    elif format == "torch":
        extra = {HEADER: ""}
        policy = module_policy(torch.export.load(path, extra_files=extra).module())
        assert json.loads(extra[HEADER])["game"] == "breakout"
    else:
        network, header = load_teacher(str(path), "breakout")
        policy = frozen_policy(network)
        assert header["game"] == "breakout"
    for number in (1, 5):
        np.testing.assert_allclose(policy(observations(number)), whole(observations(number)), atol=1e-5)


@pytest.mark.parametrize(
    ("out", "format", "runs_by"),
    [
        ("mine.onnx", "onnx", "ONNX Runtime"),
        pytest.param("mine.pt2", "torch", "torch.export", marks=pytest.mark.slow),
    ],
)
def test_an_exported_file_plays(make_teacher, workdir, capsys, out, format, runs_by):
    """`evaluate` gives an exported file the score of the network it came from, beside it."""
    main(["export", make_teacher("pong"), "--out", out, "--teacher", make_teacher("pong", "dqn"), "--format", format])
    shown = capsys.readouterr().out
    assert "teacher" in shown
    assert shown.count(runs_by) == 2
    args = ["--episodes", "2", "--max_frames", "400", "--json", "scores.json"]
    main(["evaluate", out, "--teacher", make_teacher("pong"), *args])
    scores = json.loads((workdir / "scores.json").read_text())
    assert scores["scores"] == scores["teacher"]["scores"]


def test_mistakes(several, make_teacher, workdir, capsys, monkeypatch):
    """What cannot be exported or played is refused in one line, and nothing is written."""
    monkeypatch.setattr("distill.precision.native_bf16", lambda: True)
    pong, one = make_teacher("pong"), [several, "--game", "pong"]
    main(["export", pong, "--out", "good.onnx"])
    capsys.readouterr()
    good = (workdir / "good.onnx").read_bytes()
    (workdir / "cut.onnx").write_bytes(good[:1000])
    (workdir / "empty.onnx").write_bytes(b"")
    foreign = onnx.load(io.BytesIO(good))
    del foreign.metadata_props[:]
    onnx.save(foreign, "foreign.onnx")
    before = sorted(workdir.iterdir())
    for args, message in [
        (["export", several], "say which game"),
        (["export", several, "--game", "qbert"], "not qbert; give a network for qbert"),
        (["export", pong, "--out", "mine.pt"], "must end in .onnx"),
        (["export", pong, "--format", "safetensors", "--out", pong], "which is what is read"),
        (["export", *one, "--format", "safetensors", "--teacher", pong, "--out", pong], "which is what is read"),
        (["export", pong, "--format", "tflite"], "one of 'onnx', 'torch', 'safetensors'"),
        (["export", pong, "--teacher", make_teacher("breakout")], "plays breakout, not pong"),
        (["evaluate", "good.onnx", "--game", "breakout"], "plays pong, not breakout"),
        (["evaluate", "good.onnx", "--precision", "bf16-mixed"], "precision must be 32-true"),
        (["evaluate", "cut.onnx"], "cut.onnx cannot be played"),
        (["evaluate", "empty.onnx"], "empty.onnx cannot be played"),
        (["evaluate", "foreign.onnx"], "no ONNX file of this project"),
        (["evaluate", "none.onnx"], "none.onnx cannot be played"),
    ]:
        with pytest.raises(SystemExit) as stop:
            main(args)
        assert stop.value.code == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
    assert sorted(workdir.iterdir()) == before


def test_a_file_that_answers_otherwise_is_not_written(make_teacher, workdir, monkeypatch, capsys):
    """What is read back is held to the network's actions."""
    wrong = lambda seen: np.random.default_rng(0).random((len(seen), 6), np.float32)  # noqa: E731
    monkeypatch.setitem(export.READERS, "safetensors", lambda content: wrong)
    monkeypatch.setattr(export, "observations_of", lambda *what: np.zeros((200, 4, 84, 84), np.uint8))
    with pytest.raises(SystemExit):
        main(["export", make_teacher("pong"), "--format", "safetensors", "--out", "a.safetensors"])
    assert "chooses other actions" in capsys.readouterr().err
    assert not (workdir / "a.safetensors").exists()
