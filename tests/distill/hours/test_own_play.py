"""A module that plays itself: what it keeps, and that it goes on where it stood, on real Pong and Breakout."""

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from distill.data import ReplayDataModule
from distill.hours.hour import Gone
from distill.teacher import TeacherModule
from tests.distill.test_data import fit

PLAY = {"refills_per_hour": 3, "updates_per_hour": 12, "memory_hours": 1.5, "warmup_steps": 40, "n_steps": 2}
PLAY |= {"epsilon": [(0, 1.0), (3, 0.0)], "hour_steps": 480}


@pytest.fixture
def learn(tmp_path, small):
    """Let a teacher learn hours in a folder; its last checkpoint is kept in another."""

    def run(folder, hours, game="pong", ckpt_path=None, **changes):
        L.seed_everything(0, verbose=False)
        games = game if isinstance(game, str) else dict.fromkeys(game)
        data = ReplayDataModule(games, **{**small, **PLAY, **changes})
        network = "net3" if isinstance(game, str) else "multi3"
        module = TeacherModule(game, network, target_updates=10, optimizer="adam", learning_rate=1e-3)
        saving = ModelCheckpoint(tmp_path / "checkpoints" / folder, filename="last", save_on_train_epoch_end=True)
        kept = {"enable_checkpointing": True, "callbacks": [saving], "default_root_dir": tmp_path / folder}
        fit(module, data, hours, ckpt_path, **kept)
        return module, data

    return run


def last(folder):
    (path,) = (folder.parent / "checkpoints" / folder.name).glob("*.ckpt")
    return path


@pytest.mark.parametrize(
    ("game", "changes"), [("pong", {}), (["pong", "breakout"], {}), (["pong", "breakout"], {"refills_per_hour": 1})]
)
def test_a_learning_teacher_goes_on_with_the_same_bits(learn, tmp_path, game, changes):
    """Memory, environments, epsilon and target network are what they were, whatever the memory had forgotten."""
    whole, data = learn("whole", 6, game, **changes)
    learn("parts", 3, game, **changes)
    parts, again = learn("parts", 6, game, ckpt_path=last(tmp_path / "parts"), **changes)
    assert all(torch.equal(one, parts.state_dict()[name]) for name, one in whole.state_dict().items())
    for name, experience in data.experiences.items():
        assert again.experiences[name].own_play is None  # closed
        assert list(again.experiences[name].scores)[-5:] == list(experience.scores)[-5:]


def test_only_what_is_remembered_is_kept(learn, tmp_path):
    """A file goes when the two checkpoints before the present one do not name it either."""
    learn("run", 7)
    # 180 steps of each environment and three more are remembered, 120 are an hour: two hours before the present one.
    assert sorted(path.name for path in (tmp_path / "run" / "play").iterdir()) == [
        f"pong-0-{begin:09}-{begin + 120:09}.hour" for begin in (250, 370, 490, 610, 730)
    ]


def test_without_its_memory_it_does_not_go_on(learn, tmp_path):
    """A memory that is gone or damaged is named; a teacher that forgot everything would unlearn to play."""
    learn("run", 2)
    lost = tmp_path / "run" / "play" / "pong-0-000000130-000000250.hour"
    content = lost.read_bytes()
    for damaged in (content[:-1], content[:100] + b"?" + content[101:]):
        lost.write_bytes(damaged)
        with pytest.raises(Gone, match=f"{lost} cannot be read"):
            learn("run", 3, ckpt_path=last(tmp_path / "run"))
    lost.unlink()
    with pytest.raises(Gone, match=f"{lost} is missing"):
        learn("run", 3, ckpt_path=last(tmp_path / "run"))
