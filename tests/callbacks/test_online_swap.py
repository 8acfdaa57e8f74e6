"""Online distillation: who labels which hour."""

import io
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import lightning as L
import pytest
import torch
from same import same_weights

from callbacks.online_swap import OnlineSwap
from distill.data import ReplayDataModule
from distill.errors import DistillError
from distill.hours.teacher_play import TeacherPlay
from distill.networks import build
from distill.student import StudentModule
from distill.weights.best import BestNetworks, rounded
from tests.distill.test_data import fit

SCORES = {0: -21.0, 1: -20.0, 2: -20.5, 3: -3.0, 4: -2.0}


@dataclass
class Teacher:
    """A teacher's run, whose hours pass when they are told to."""

    best: BestNetworks

    def learn(self, *hours: int) -> None:
        for hour in hours:
            torch.manual_seed(hour)
            network = rounded(build("net3", num_actions=6))
            self.best.scored(hour, SCORES[hour], network, {"game": "pong"})
            self.best.advance(hour)


@contextmanager
def beginning(folder: Path) -> Iterator[Teacher]:
    """Let a teacher's run begin."""
    with closing(BestNetworks(folder / "teacher", "pong", 0)) as writer:
        yield Teacher(writer)


@pytest.fixture
def teacher(tmp_path):
    with beginning(tmp_path) as one:
        yield one


def distil(tmp_path, small, hours=4, callbacks=(), ckpt_path=None, **how):
    """Distil the teacher's run; give the student, its data and the swaps."""
    L.seed_everything(0, verbose=False)
    run = str(tmp_path / "teacher")
    student, data, swap = StudentModule("pong"), ReplayDataModule("pong", run, **small), OnlineSwap(run, **how)
    trainer = fit(student, data, hours=hours, callbacks=[swap, *callbacks], ckpt_path=ckpt_path)
    return student, data, swap, trainer


class Whole(NamedTuple):
    """What came of a teacher that had learned all its hours."""

    student: StudentModule
    data: ReplayDataModule
    swaps: list[tuple[int, int]]
    store: str


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Distil four hours, each played when it is needed, once for each way with a former teacher's labels."""
    made = {}

    def distilled(small: dict, former: str = "keep") -> Whole:
        if former not in made:
            folder = tmp_path_factory.mktemp(former)
            settings = {**small, "store": str(folder / "hours"), "overlap": False}
            with beginning(folder) as teacher:
                teacher.learn(0, 1, 2, 3, 4)
                student, data, swap, _ = distil(folder, settings, former=former)
            made[former] = Whole(student, data, swap.swaps, settings["store"])
        return made[former]

    return distilled


def test_the_order_of_events(teacher, whole, tmp_path, small, monkeypatch):
    """After each hour's updates the best of that hour or before takes over if it is better, and plays the next hour."""
    store = whole(small).store
    tape = []
    teacher.learn(0, 1, 2, 3, 4)
    hour, change = TeacherPlay.hour, TeacherPlay.change_teacher
    monkeypatch.setattr(
        TeacherPlay, "hour", lambda self, number, *more: tape.append(f"play {number}") or hour(self, number, *more)
    )
    monkeypatch.setattr(
        TeacherPlay,
        "change_teacher",
        lambda self, at, *who, **more: tape.append(f"swap {at}") or change(self, at, *who, **more),
    )

    class Learning(L.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, index):
            if index == 1:
                tape.append(f"learned {trainer.current_epoch}")

    _, _, swap, _ = distil(tmp_path, {**small, "store": store}, callbacks=[Learning()])
    assert tape == [
        *("play 0", "learned 0", "swap 1"),
        *("play 1", "learned 1"),  # the network of hour 2 is worse than that of hour 1
        *("play 2", "learned 2", "swap 3"),
        *("play 3", "learned 3"),
    ]
    assert swap.swaps == [(0, 0), (1, 1), (3, 3)]


@pytest.mark.parametrize(("former", "labelled"), [("keep", [0, 1, 1, 3]), ("flush", [3])])
def test_labels_change_from_the_next_hour_on(whole, small, former, labelled):
    """Each remembered hour holds the labels of whoever was best when it was played; `flush` drops the former's.

    The labels are those of the observations that are drawn, from an hour's first step on.
    """
    memory = whole(small, former).data.experiences["pong"].memory
    assert len(memory) == 120 * len(labelled)
    for place, hour in enumerate(labelled):
        torch.manual_seed(hour)
        network = rounded(build("net3", num_actions=6))
        begin = memory._oldest + 60 * place
        times = torch.arange(begin, begin + 60).repeat_interleave(2).numpy()
        envs = torch.arange(2).repeat(60).numpy()
        labels = torch.from_numpy(memory._kept["labels"][times, envs])
        torch.testing.assert_close(network(memory._observations(times, envs)), labels, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("former", "hours"), [("keep", 1), ("keep", 2), ("flush", 2), ("keep", 3)])
def test_where_a_run_goes_on_it_ends_in_the_same_bits(teacher, whole, tmp_path, small, former, hours):
    """It hands over as before, and where it had ended and gets further hours, after what was its last, too."""
    teacher.learn(0, 1, 2, 3, 4)
    expected = whole(small, former)
    found = {**small, "store": expected.store}
    _, _, _, trainer = distil(tmp_path, found, hours=hours, former=former)
    trainer.save_checkpoint(tmp_path / "some.ckpt")
    again, _, resumed, _ = distil(tmp_path, found, former=former, ckpt_path=tmp_path / "some.ckpt")
    assert resumed.swaps == expected.swaps
    assert same_weights(expected.student, again)


def test_side_by_side_is_one_after_the_other(teacher, whole, tmp_path, small, monkeypatch):
    """A student that has to wait for its teacher says so, and becomes the same as one that came later."""
    after, said = whole(small), io.StringIO()
    teacher.learn(0)

    def learn() -> None:
        for hour in (1, 2, 3):
            while f"waiting for the teacher, which is at hour {hour - 1} of {hour}\n" not in said.getvalue():
                time.sleep(0.01)
            teacher.learn(hour)
        teacher.learn(4)

    learning = threading.Thread(target=learn, daemon=True)
    learning.start()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", said)
        beside, _, first, _ = distil(tmp_path, small, poll_seconds=0.05, patience_minutes=1)
    learning.join()
    assert first.swaps == after.swaps
    assert same_weights(beside, after.student)


def test_no_hour_is_played_ahead(teacher, whole, tmp_path, small):
    """Where play would overlap with learning it does not, and the student is the same."""
    teacher.learn(0, 1, 2, 3, 4)
    ahead, _, _, _ = distil(tmp_path, {**small, "overlap": True})
    assert same_weights(ahead, whole(small).student)


def test_another_folder_than_the_datas_is_refused(teacher, tmp_path, small):
    """Who labels the first hour must be the teacher that is followed."""
    teacher.learn(0)
    data = ReplayDataModule("pong", str(tmp_path / "teacher"), **small)
    with pytest.raises(DistillError, match="it must be teacher_run"):
        fit(StudentModule("pong"), data, callbacks=[OnlineSwap(str(tmp_path / "elsewhere"))])


def test_a_teacher_that_has_ended_is_not_waited_for(teacher, tmp_path, small):
    """A student may learn on from the best there is."""
    teacher.learn(0, 1)
    teacher.best.end()
    _, _, swap, _ = distil(tmp_path, small)
    assert swap.swaps == [(0, 0), (1, 1)]


def test_a_dead_teacher_stops_the_student(teacher, tmp_path, small):
    """Without progress for as long as one is patient, one line says so."""
    teacher.learn(0)
    with pytest.raises(DistillError, match=r"is at hour 0 and has made no progress for 0\.005 minutes") as stop:
        distil(tmp_path, small, patience_minutes=0.005, poll_seconds=0.05)
    assert stop.value.code == 1


def test_a_clock_that_goes_backwards_is_refused(teacher, tmp_path, small):
    """An index that knows less than before is another run's."""
    index = teacher.best.folder / "index.json"
    teacher.learn(0, 1)
    early = index.read_text()
    teacher.learn(2)

    class Meddling(L.Callback):
        def on_train_batch_start(self, trainer, module, batch, number):
            if trainer.current_epoch == 1:
                index.write_text(early)

    with pytest.raises(DistillError, match="went back from hour 2 to 1"):
        distil(tmp_path, small, callbacks=[Meddling()])


def test_several_games_are_refused(tmp_path):
    """One teacher, one game."""
    with pytest.raises(ValueError, match="the student has 2 games"):
        OnlineSwap(str(tmp_path)).check_run(StudentModule(["pong", "freeway"], network="multi3"))
