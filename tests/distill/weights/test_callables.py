"""Teachers from the user's own Python: what they say is learned, and those who play alike share their play."""

import json

import lightning as L
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from distill.cli import main
from distill.data import ReplayDataModule
from distill.networks import DQN
from distill.runs.checkpoints import Checkpoints, SealedFiles
from distill.runs.results import save_report
from distill.runs.signals import Signals
from distill.student import StudentModule
from distill.weights.callables import CallableNetwork
from distill.weights.digests import identity
from distill.weights.files import shipped
from distill.weights.load import load_network, load_playing


class Brightness(nn.Module):
    """Values the actions by the brightness of stripes of the newest frame, as weights say."""

    def __init__(self, sharpness: float = 1.0, actions: int = 6) -> None:
        super().__init__()
        self.sharpness = sharpness
        self.dropout = nn.Dropout(0.5)
        self.weights = nn.Parameter(torch.linspace(-1, 1, 84 * actions).view(84, actions))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        assert torch.is_inference_mode_enabled()
        rows = observations[:, 3].float().mean(dim=2)
        return self.dropout(self.sharpness * rows @ self.weights)


def brightest(observations: torch.Tensor) -> np.ndarray:
    """Value the actions by the brightness of six stripes, in NumPy."""
    return observations[:, 3, :, :].numpy().reshape(len(observations), 6, -1).mean(axis=2)


def fit(teacher, small, tmp_path, **changes):
    """Distil for two hours, and return the data module, and how many hours were played."""
    L.seed_everything(0, verbose=False)
    data = ReplayDataModule("pong", teacher, **{**small, **changes})
    module = StudentModule("pong", temperature=1.0)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "num_sanity_val_steps": 0}
    quiet |= {"enable_model_summary": False, "accelerator": "cpu", "check_val_every_n_epoch": 10}
    played = []
    data.on_play.append(lambda done, steps: played.append(done) if done == steps else None)
    trainer = L.Trainer(max_epochs=2, default_root_dir=tmp_path, **quiet)
    trainer.fit(module, data)
    return data, module, trainer, len(played)


@pytest.mark.parametrize("teacher", [Brightness(), brightest], ids=["module", "function"])
def test_what_it_says_is_the_label(teacher, small, tmp_path):
    """Each remembered label is what the teacher, without dropout, says of its observation; the run ends in a table."""
    data, module, trainer, played = fit(teacher, small, tmp_path)
    assert played == 2
    batch = data.experiences["pong"].memory.minibatch(np.random.default_rng(0), 200)
    with torch.inference_mode():
        expected = (teacher if teacher is brightest else teacher.eval())(batch.observations)
    torch.testing.assert_close(batch.labels, torch.as_tensor(expected).float(), rtol=1e-5, atol=1e-5)
    trainer.validate(module, data, verbose=False)
    save_report(module, data, tmp_path)
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["teacher"]["file_bytes"] is None
    assert load_network(str(tmp_path / "student.safetensors"))[1]["trained"]["teacher"] == data.teachers["pong"].name


def test_hours_are_shared_by_those_who_play_alike(small, tmp_path):
    """An equal module finds the hours of the first; one with another setting does not."""
    assert fit(Brightness(), small, tmp_path)[3] == 2
    assert fit(Brightness(), small, tmp_path)[3] == 0
    assert fit(Brightness(sharpness=2.0), small, tmp_path)[3] == 2


def test_what_tells_teachers_apart():
    """Weights, plain attributes and a class's file do; a function only has the digest that it is given."""
    assert identity(Brightness()) == identity(Brightness())
    changed = Brightness()
    changed.weights.data[0, 0] += 1
    other = Brightness()
    other.dropout.p = 0.25
    buffered = [Brightness() for _ in range(2)]
    for value, one in enumerate(buffered):
        one.register_buffer("offset", torch.tensor(value), persistent=False)
    line, relu = nn.Linear(3, 3), nn.ReLU()
    shared = [nn.Sequential(*layers) for layers in ((line, relu), (line, relu, relu))]
    several = [Brightness(), changed, other, Brightness(sharpness=2.0), nn.Sequential(Brightness()), *buffered, *shared]
    assert len({identity(one) for one in several}) == len(several)
    assert identity(brightest) != identity(brightest)
    one, another = (lambda seen: brightest(seen) for _ in range(2))
    one.digest = another.digest = "stripes, 1"
    assert identity(one) == identity(another)
    another.digest = "stripes, 2"
    assert identity(one) != identity(another)


def test_what_cannot_be_described_is_not_shared():
    """A module with an attribute that is no plain value, or a hook, is equal to nothing, not even to itself."""
    assert identity(DQN((4, 4, 4, 8), 6)) != identity(DQN((4, 4, 4, 8), 6))  # drawn anew
    network = DQN((4, 4, 4, 8), 6)
    assert identity(network) == identity(network)
    network.table = np.zeros(3)
    assert identity(network) != identity(network)
    hooked = Brightness()
    hooked.register_forward_hook(lambda *args: None)
    assert identity(hooked) != identity(hooked)


def test_a_copy_teaches():
    """What becomes of a module afterwards changes nothing, and it keeps its own mode and gradients."""
    module = Brightness()
    guest = CallableNetwork(module, "pong", 6, digest=identity(module))
    assert module.training
    assert module.weights.requires_grad
    seen = torch.randint(0, 256, (3, 4, 84, 84), dtype=torch.uint8)
    with torch.inference_mode():
        before = guest(seen)
        module.weights.zero_()
        assert torch.equal(guest(seen), before)


class Odd(nn.Module):
    """Has a number without a dimension, a layer under two names, an infinite mask, and a part that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(64)
        self.first = self.second = nn.Linear(64, 64)
        self.out = nn.Linear(64, 6)
        self.frozen = nn.Dropout(0.5).eval()
        self.register_buffer("mask", torch.full((6,), -torch.inf))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        coarse = nn.functional.avg_pool2d(observations.float() / 255, 21).flatten(1)
        return torch.maximum(self.out(self.frozen(self.second(self.first(self.norm(coarse))))), self.mask)


class OddStudent(StudentModule):
    def make_network(self, num_actions: int) -> nn.Module:
        return Odd()


@pytest.mark.filterwarnings("ignore:Found 1 module.* in eval mode")
def test_a_network_of_ones_own_ends_in_a_file(small, tmp_path):
    """Whatever it is made of, a run of it writes its checkpoints and ends; it can teach, too."""
    student, data = OddStudent("pong"), ReplayDataModule("pong", Odd(), **small)
    assert student.network.scores.norm.training
    assert not student.network.scores.frozen.training
    with Signals() as signals:
        saving = {"enable_checkpointing": True, "plugins": [SealedFiles()], "limit_val_batches": 1.0}
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        callbacks = [Checkpoints(tmp_path / "checkpoints", signals)]
        (tmp_path / "checkpoints").mkdir()
        L.Trainer(max_epochs=1, callbacks=callbacks, default_root_dir=tmp_path, **saving, **quiet).fit(student, data)
    save_report(student, data, tmp_path)
    written = load_file(tmp_path / "student.safetensors")
    assert written.keys() == student.network.state_dict().keys()
    assert all(torch.equal(written[name], one) for name, one in student.network.state_dict().items())


@pytest.mark.parametrize(
    "teacher", [Brightness(actions=4), lambda seen: torch.zeros(6), lambda seen: torch.zeros(2, 18)]
)
def test_other_shapes_are_refused(teacher, small):
    """A teacher that does not value each legal action of each observation is refused before anything is played."""
    with pytest.raises(ValueError, match=r"maps 2 observations to \(.*\); with the 6 legal actions of pong it must be"):
        ReplayDataModule("pong", teacher, **small)


def test_several_games_may_have_guests(make_teacher, small):
    """A guest may stand beside a file."""
    data = ReplayDataModule({"pong": Brightness(), "breakout": make_teacher("breakout")}, **small)
    assert data.teachers["pong"].name == "Brightness"
    assert isinstance(data.teachers["pong"].network, CallableNetwork)


def test_a_guest_says_whether_its_numbers_are_logits(small):
    """Its attribute `kind` says so; without one they are values, and other kinds are refused."""
    module = Brightness()
    kinds = {}
    for kind in (None, "policy"):
        if kind:
            module.kind = kind
        kinds[kind] = ReplayDataModule("pong", module, **small).teacher_kinds["pong"]
    assert kinds == {None: "values", "policy": "policy"}
    module.kind = "logits"
    with pytest.raises(ValueError, match="kind of Brightness 'logits' is unknown; choose one of values, policy"):
        ReplayDataModule("pong", module, **small)


def test_a_network_of_ones_own_is_its_runs(tmp_path, monkeypatch, capsys):
    """Its class teaches the game that it learned, and no other; a shipped name stays one, whatever folder one is in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    source = "import torch\nfrom distill import StudentModule\n\n\nclass Plain(StudentModule):\n"
    source += "    def make_network(self, num_actions):\n        layer = torch.nn.LazyLinear(num_actions)\n"
    source += "        return torch.nn.Sequential(torch.nn.Flatten(), Scaled(), layer)\n\n\n"
    source += "class Scaled(torch.nn.Module):\n    def forward(self, x):\n        return x.float() / 255\n"
    (tmp_path / "plain_module.py").write_text(source)
    common = ["fit", "--config", "compress", "--config", "debug", "--model", "plain_module.Plain"]
    main([*common, "--run_dir", "run", "--data.teacher", "pong"])
    own = load_playing("run", "pong")
    assert (own.kind, own.network.game) == ("policy", "pong")
    with pytest.raises(ValueError, match="'run' plays pong, not breakout"):
        load_playing("run", "breakout")
    with pytest.raises(SystemExit):
        main(["export", "run"])
    assert "run has a network of its own, Sequential; only those of" in capsys.readouterr().err
    main(["export", "run", "--format", "torch", "--out", "own.pt2"])
    assert "equal greedy actions 100.0%" in capsys.readouterr().out
    main(["evaluate", "own.pt2", "--episodes", "1", "--max_frames", "400"])
    main(
        [*common, "--run_dir", "more", "--data.teacher", "pong", "--model.pretrained", "run", "--trainer.max_epochs=1"]
    )
    capsys.readouterr()
    for args, said in (
        [[], "pretrained 'pong' has layers of 32, 64, 64, 512 and 6 actions; here it must have the layers of Seq"],
        [["--model", "StudentModule", "--model.pretrained", "run"], "pretrained 'run' has the layers of Sequential, 1"],
    ):
        with pytest.raises(SystemExit):
            main([*common, "--run_dir", "other", "--data.teacher", "pong", "--model.pretrained", "pong", *args])
        assert said in capsys.readouterr().err
    monkeypatch.chdir(tmp_path / "run")
    assert load_playing("pong", "pong").file == shipped()["pong"]
