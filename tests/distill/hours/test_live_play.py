"""A module that plays itself: what it keeps, and that it goes on where it stood, on real Pong and Breakout."""

import lightning as L
import pytest
import torch
from same import same_weights

from distill.data import ReplayDataModule
from distill.files.checkpoint import LAST, read_checkpoint, write_checkpoint
from distill.hours.hour import Gone
from distill.runs.checkpoints import Checkpoints, SealedFiles
from distill.runs.signals import Signals
from distill.teacher import TeacherModule
from tests.distill.test_data import fit

PLAY = {"refills_per_hour": 3, "updates_per_hour": 12, "memory_hours": 1.5, "warmup_steps": 10, "n_steps": 2}
PLAY |= {"epsilon": [(0, 1.0), (3, 0.0)], "hour_steps": 120, "num_envs": 1}


@pytest.fixture
def learn(tmp_path, small):
    """Let a teacher learn hours in a folder; its last checkpoints are kept in another."""

    def run(folder, hours, game="pong", ckpt_path=None, callbacks=(), **changes):
        L.seed_everything(0, verbose=False)
        games = game if isinstance(game, str) else dict.fromkeys(game)
        data = ReplayDataModule(games, **{**small, **PLAY, **changes})
        network = "net3" if isinstance(game, str) else "multi3"
        module = TeacherModule(game, network, target_updates=10, optimizer="adam", learning_rate=1e-3)
        checkpoints = tmp_path / "checkpoints" / folder
        checkpoints.mkdir(parents=True, exist_ok=True)
        with Signals() as signals:
            every = [*callbacks, Checkpoints(checkpoints, signals)]
            kept = {"enable_checkpointing": True, "callbacks": every, "plugins": [SealedFiles()]}
            fit(module, data, hours, ckpt_path, default_root_dir=tmp_path / folder, **kept)
        return module, data

    return run


def last(folder):
    return folder.parent / "checkpoints" / folder.name / LAST


@pytest.mark.parametrize(
    ("game", "changes"),
    [
        ("pong", {}),
        pytest.param(["pong", "breakout"], {}, marks=pytest.mark.slow),
        pytest.param(["pong", "breakout"], {"refills_per_hour": 1}, marks=pytest.mark.slow),
    ],
)
def test_a_learning_teacher_goes_on_with_the_same_bits(learn, tmp_path, game, changes):
    """Memory, environments, epsilon and target network are what they were, whatever the memory had forgotten."""
    whole, data = learn("whole", 6, game, **changes)
    learn("parts", 3, game, **changes)
    parts, again = learn("parts", 6, game, ckpt_path=last(tmp_path / "parts"), **changes)
    assert all(torch.equal(one, parts.state_dict()[name]) for name, one in whole.state_dict().items())
    for name, experience in data.experiences.items():
        assert list(again.experiences[name].scores)[-5:] == list(experience.scores)[-5:]


def test_only_what_is_remembered_is_kept(learn, tmp_path):
    """A file goes when the two checkpoints before the present one do not name it either."""
    learn("run", 7)
    # 180 steps of each environment and three more are remembered, 120 are an hour: two hours before the present one.
    assert sorted(path.name for path in (tmp_path / "run" / "play").iterdir()) == [
        f"pong-0-{begin:09}-{begin + 120:09}.hour" for begin in (370, 490, 610, 730)
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


def test_a_checkpoint_of_other_play_does_not_go_on(learn, tmp_path):
    """One that an earlier version wrote is refused, and what it remembers is not taken for play of today."""
    learn("run", 1)
    path = last(tmp_path / "run")
    content = read_checkpoint(path)
    del content["ReplayDataModule"]["format"]
    write_checkpoint(path, content)
    with pytest.raises(ValueError, match="this checkpoint holds play of format 1; this version plays by format 2"):
        learn("run", 2, ckpt_path=path)


def test_other_environments_do_not_go_on(learn, tmp_path):
    """What was played in one environment is not continued in two."""
    learn("run", 1)
    with pytest.raises(Gone, match="1 environments played before; num_envs is 2, and must be as it was"):
        learn("run", 2, ckpt_path=last(tmp_path / "run"), num_envs=2)


class Killed(L.Callback):
    """Ends a run in the midst of its third hour."""

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        if (trainer.current_epoch, number) == (2, 4):
            raise RuntimeError("killed")


class Often(L.Callback):
    """Saves after every block, as it likes."""

    def __init__(self, path):
        self.path = path

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        trainer.save_checkpoint(self.path)


def test_checkpoints_of_others_cost_none_of_ours_its_play(learn, tmp_path):
    """Beside a callback that saves more often, a run that dies still goes on from its own last checkpoint."""
    few = {"memory_hours": 0.5, "refills_per_hour": 6, "block_updates": 2}
    with pytest.raises(RuntimeError, match="killed"):
        learn("run", 3, callbacks=[Often(tmp_path / "often.ckpt"), Killed()], **few)
    whole, _ = learn("whole", 3, **few)
    again, _ = learn("run", 3, ckpt_path=last(tmp_path / "run"), **few)
    assert same_weights(whole, again)
