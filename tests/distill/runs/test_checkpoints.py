"""Checkpoints within an hour and at its end: a run that goes on from any of them ends in the same bits."""

import os
import signal

import lightning as L
import pytest
from same import same_weights

from distill.data import ReplayDataModule
from distill.files.checkpoint import LAST, newest, read_checkpoint
from distill.module import Diverged
from distill.runs.checkpoints import Checkpoints, SealedFiles
from distill.runs.signals import Signals, Stopped
from distill.student import StudentModule
from distill.teacher import TeacherModule
from tests.distill.test_data import fit

HOURS = 3
BLOCKS = 4
SEVERAL = ["freeway", "pong"]


class Asking(L.Callback):
    """Sends this process a signal while a block is learned, or while episodes are scored."""

    def __init__(self, at: int | None = None, while_scoring: bool = False) -> None:
        self.at, self.while_scoring, self.blocks = at, while_scoring, 0

    def on_before_backward(self, trainer, module, loss):
        if self.blocks == self.at and not self.while_scoring:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        self.blocks += 1

    def on_validation_epoch_start(self, trainer, module):
        if self.while_scoring and self.blocks == self.at:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def learn(tmp_path, small, make_teacher):
    """Let a student or a teacher learn for three hours, as far as it comes; give its weights, scores and signals."""

    def run(folder, what, asking=(), seconds=1e9):
        L.seed_everything(0, verbose=False)
        games = SEVERAL if what.startswith("several") else ["pong"]
        settings = {
            **small,
            "updates_per_hour": 4 * BLOCKS,
            "store": str(tmp_path / "hours"),
            "hour_steps": 60,
            "num_envs": 1,
            "memory_hours": 1.5,
            "max_frames": 200,
            "eval_episodes": 1,
        }
        if what.endswith("students"):
            network = "multi3" if len(games) > 1 else "net3"
            module = StudentModule(games, network, learning_rate=1e-3)
            data = ReplayDataModule({game: make_teacher(game) for game in games}, **settings)
        else:
            network = "multi3" if len(games) > 1 else "net3"
            module = TeacherModule(games, network, target_updates=6, optimizer="adam", learning_rate=1e-3)
            settings |= {"refills_per_hour": 2, "warmup_steps": 40, "epsilon": [(0, 1.0), (3, 0.0)], "n_steps": 2}
            data = ReplayDataModule(dict.fromkeys(games), interleave="episode", **settings)
        last, _ = newest(tmp_path / folder / "checkpoints")
        with Signals() as signals:
            saving = Checkpoints(tmp_path / folder / "checkpoints", signals, seconds)
            kept = {"enable_checkpointing": True, "limit_val_batches": 1.0, "plugins": [SealedFiles()]}
            kept |= {"callbacks": [*asking, saving], "default_root_dir": tmp_path / folder}
            fit(module, data, HOURS, last, **kept)
        return module

    return run


@pytest.mark.parametrize(
    "what",
    [
        "one of students",
        pytest.param("several students", marks=pytest.mark.slow),
        "one teacher",
        pytest.param("several teachers", marks=pytest.mark.slow),
    ],
)
def test_stopped_anywhere_it_goes_on_with_the_same_bits(learn, what):
    """Asked to stop in the second block, while scoring, and in another hour's third, it ends as if it never was."""
    whole = learn("whole", what)
    for at, while_scoring in ((1, False), (2, True), (2, False)):
        with pytest.raises(Stopped) as stop:
            learn("parts", what, [Asking(at, while_scoring)])
        assert stop.value.code == 143
    parts = learn("parts", what)
    assert same_weights(whole, parts)
    assert whole.summaries == parts.summaries


def test_a_checkpoint_every_so_many_seconds(learn, tmp_path, monkeypatch):
    """After each block that ends so long after the last checkpoint there is another."""
    saved = []
    monkeypatch.setattr(Checkpoints, "_save", lambda self, trainer: saved.append(trainer.global_step))
    learn("often", "one of students", seconds=0)
    assert saved == [4, 8, 12, 16, 16, 20, 24, 28, 32, 32, 36, 40, 44, 48, 48]
    saved.clear()
    learn("seldom", "one of students")
    assert saved == [16, 16, 32, 32, 48, 48]


class Ending(L.Callback):
    """Has the Trainer end after the second block of the second hour."""

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        if (trainer.current_epoch, number) == (1, 1):
            trainer.should_stop = True


@pytest.mark.parametrize("what", ["one of students", pytest.param("one teacher", marks=pytest.mark.slow)])
def test_an_hour_is_never_cut_short(learn, what):
    """A run that is to end within an hour learns and scores that hour first; going on, it ends as if it never was."""
    whole = learn("whole", what)
    ended = learn("parts", what, [Ending()])
    assert ended.scored_updates == ended.trainer.global_step == 2 * 4 * BLOCKS
    assert same_weights(whole, learn("parts", what))


def test_weights_that_are_no_numbers_spare_the_checkpoint(make_teacher, small, tmp_path):
    """The run stops, and what it can go on from is from before."""

    class Breaking(L.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, number):
            if trainer.global_step == 12:
                module.network.out.bias.data[0] = float("inf")

    data = ReplayDataModule("pong", make_teacher("pong"), **small)
    with Signals() as signals:
        callbacks = [Breaking(), Checkpoints(tmp_path / "checkpoints", signals, 1e-9)]
        kept = {"enable_checkpointing": True, "plugins": [SealedFiles()], "default_root_dir": tmp_path}
        with pytest.raises(Diverged, match=r"out\.bias became infinite or not a number by update 12"):
            fit(StudentModule("pong"), data, callbacks=callbacks, **kept)
    assert read_checkpoint(tmp_path / "checkpoints" / LAST)["global_step"] == 8
