"""A teacher's hours: played once, found afterwards, the same however they came about."""

import threading
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from same import same_steps

import distill.hours.teacher_play
from distill.atari.rules import EnvRules
from distill.files.store import Store
from distill.hours.hour import Gone, Hour
from distill.hours.teacher_play import TeacherPlay, provenance
from distill.networks import build
from distill.replay import Memory, Steps
from distill.rollout import PlayConfig, PlayState
from distill.schedule import Schedule

RULES = PlayConfig("breakout", 0, 0, 2, 200, Schedule.of(0.3), 2000)
MIXED = replace(RULES, beta=Schedule.of(0.5), epsilon=Schedule.of(0.0))


def teacher(seed: int = 0):
    torch.manual_seed(seed)
    return build("net3", num_actions=4).requires_grad_(False)


@pytest.fixture
def recording(tmp_path):
    """Make recordings that are closed at the end."""
    made = []

    def make(
        folder: str = "store",
        rules: PlayConfig = RULES,
        seed: int = 0,
        overlap: bool = False,
        student: int | None = None,
    ) -> TeacherPlay:
        made.append(recording_in(tmp_path / folder, rules, seed, overlap, student))
        return made[-1]

    yield make
    for one in made:
        one.close()


def recording_in(
    folder: Path, rules: PlayConfig = RULES, seed: int = 0, overlap: bool = False, student: int | None = None
) -> TeacherPlay:
    who = {"teacher": teacher(seed), "student": None if student is None else teacher(student)}
    return TeacherPlay(rules, **who, store=Store(folder), memory_hours=1, overlap=overlap, num_threads=2)


@dataclass
class Played:
    """Hours that one recording played, one after the other."""

    hours: list[Steps]
    files: dict[str, bytes]
    played_hours: int
    student_digests: dict[int, str]

    def put(self, folder: Path, hours: range) -> None:
        """Put the files of some of them into a store."""
        folder.mkdir(exist_ok=True)
        for hour in hours:
            name, content = sorted(self.files.items())[hour]
            (folder / name).write_bytes(content)


def play_hours(folder: Path, count: int, **how) -> Played:
    with closing(recording_in(folder, **how)) as one:
        hours = [one.hour(hour) for hour in range(count)]
        return Played(hours, files(folder), one.played_hours, one.student_digests)


@pytest.fixture(scope="module")
def four(tmp_path_factory) -> Played:
    """Four hours by `RULES`."""
    return play_hours(tmp_path_factory.mktemp("four"), 4)


def test_play_of_another_format_is_refused(four, monkeypatch):
    """A file of an earlier version says so, and what is to be done."""
    content = Hour(four.hours[0], PlayState.fresh(2)).to_bytes({"game": "breakout"})
    monkeypatch.setattr("distill.hours.hour.FORMAT", 3)
    with pytest.raises(ValueError, match=r"holds play of format 2; this version plays by format 3.*begin a new run"):
        Hour.from_bytes(content)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Played:
    """Two hours by `MIXED`, where a student acts."""
    return play_hours(tmp_path_factory.mktemp("mixed"), 2, rules=MIXED, student=1)


def episodes_of(steps: Steps) -> np.ndarray:
    """Number each environment's episodes of play that began with these steps."""
    return np.cumsum(steps.ended, axis=0) - steps.ended


def files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.hour")}


def test_an_hour_file_gives_back_every_bit(four):
    """Reading what was written gives the same arrays, of the same types."""
    steps = four.hours[0]
    position = PlayState.fresh(2).after(steps)
    again = Hour.from_bytes(Hour(steps, position).to_bytes({"game": "breakout"}))
    assert same_steps(again.steps, steps)
    assert all(getattr(again.steps, field.name).dtype == getattr(steps, field.name).dtype for field in fields(Steps))
    assert again.position.numbers.tolist() == position.numbers.tolist()
    assert [actions.tolist() for actions in again.position.actions] == [
        actions.tolist() for actions in position.actions
    ]


def test_hours_are_played_once(four, recording, tmp_path):
    """A second recording of the same teacher by the same rules plays nothing and gives the same."""
    four.put(tmp_path / "store", range(4))
    second = recording()
    assert all(same_steps(second.hour(hour), four.hours[hour]) for hour in range(4))
    assert (four.played_hours, second.played_hours) == (4, 0)


def test_playing_ahead_changes_nothing(four, recording, tmp_path, monkeypatch):
    """With overlap, without, in groups, and with a new process for each hour, the files are the same, byte for byte."""
    ahead = recording("ahead", overlap=True)
    monkeypatch.setattr(distill.hours.teacher_play, "GROUP_ENVS", 2)
    grouped = recording("grouped", overlap=True)
    for hour in range(3):
        for one in (ahead, grouped):
            one.hour(hour)
            if hour < 2:
                one.play_ahead(hour + 1)
    four.put(tmp_path / "restarted", range(1))  # a process of its own played it
    for hour in (1, 2):
        recording("restarted").hour(hour)
    four.put(tmp_path / "stepwise", range(3))
    assert len(files(tmp_path / "ahead")) == 3
    assert files(tmp_path / "ahead") == files(tmp_path / "stepwise") == files(tmp_path / "restarted")
    assert files(tmp_path / "grouped") == files(tmp_path / "ahead")


@pytest.mark.parametrize(("overlap", "played"), [(True, 2), (False, 1)])
def test_only_overlap_plays_ahead(recording, overlap, played):
    """While an hour is being used the next one is played, where that is wanted."""
    one = recording(overlap=overlap)
    one.hour(0)
    one.play_ahead(1)
    if overlap:
        one._ahead[1].result()
    one.close()
    assert one.played_hours == played


def test_missing_and_damaged_hours_are_played_again(four, recording, tmp_path, capsys):
    """Where hours are gone or damaged, just these are played, to the same bits."""
    four.put(tmp_path / "store", range(4))
    again = recording()
    again.store.path(again.name(1)).unlink()
    damaged = again.store.path(again.name(2))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    again.hour(2)
    again.hour(3)
    assert again.played_hours == 2
    assert str(damaged) in capsys.readouterr().err
    assert files(tmp_path / "store") == four.files


@pytest.mark.parametrize(
    "change",
    [
        {"game": "pong"},
        {"seed": 1},
        {"rank": 1},
        {"num_envs": 5},
        {"hour_steps": 800},
        {"epsilon": Schedule.of(0.2)},
        {"epsilon": Schedule.of([(0, 0.3), (1, 0.2)])},
        {"max_frames": 4000},
        {"beta": Schedule.of([(0, 1.0), (1, 0.5)])},
    ],
)
def test_the_name_says_what_an_hour_depends_on(recording, change):
    """Whatever changes play changes every hour's name; another teacher does, too."""
    rules = replace(RULES, **change)
    names, others = recording(), recording(rules=rules)
    assert not {names.name(hour) for hour in range(3)} & {others.name(hour) for hour in range(3)}
    assert names.name(2) == recording(folder="elsewhere").name(2) != recording(seed=1).name(2)


def test_the_newest_hours_are_held(four, recording, tmp_path):
    """The files of the remembered hours cannot be evicted, the older ones can, whether found or played."""
    four.put(tmp_path / "store", range(4))
    one = recording()
    for hour in range(4):
        one.hour(hour)
    assert set(one.store._held) == {one.name(2), one.name(3)}
    late = recording("elsewhere")
    late.hour(3)  # plays all before it
    assert set(late.store._held) == {late.name(2), late.name(3)}


def test_closing_stops_play(recording):
    """Closing does not wait for the hour that is being played."""
    one = recording(rules=replace(RULES, hour_steps=10_000_000), overlap=True)
    playing = one._worker.submit(one._get, 0)
    closing = threading.Thread(target=one.close, daemon=True)
    closing.start()
    closing.join(60)
    assert not closing.is_alive()
    assert playing.cancelled() or isinstance(playing.exception(), CancelledError)


def test_where_the_student_acts_the_teacher_still_labels(mixed):
    """With beta 0.5 whoever an episode was drawn for acts in all of it; every label is the teacher's."""
    steps = mixed.hours[0]
    numbers = episodes_of(steps)
    acts = [MIXED.student_acts(env, int(number), 0) for (_, env), number in np.ndenumerate(numbers)]
    by_student = np.array(acts).reshape(numbers.shape)
    assert 0 < by_student.mean() < 1
    memory = Memory(len(steps.actions), 2, 4, "breakout")
    memory.extend(steps)
    rows = np.stack(np.nonzero(np.ones_like(by_student[4:])))
    seen = memory._observations(rows[0] + 4, rows[1])
    labels = torch.from_numpy(steps.labels[4:].reshape(-1, 4))
    torch.testing.assert_close(teacher(0)(seen), labels, atol=1e-5, rtol=1e-4)
    chosen = torch.where(torch.from_numpy(by_student[4:].reshape(-1, 1)), teacher(1)(seen), labels).argmax(1)
    assert (chosen.numpy() == steps.actions[4:].reshape(-1)).mean() > 0.999  # one observation or all at once may round


def test_who_acts_is_drawn_by_beta():
    """Of 1,000 episodes about beta of them are the teacher's (5 standard errors); at 1 all, and by the schedule."""
    rules = replace(RULES, beta=Schedule.of([(0, 1.0), (2, 0.25)]))
    shares = [1 - np.mean([rules.student_acts(0, number, hour) for number in range(1000)]) for hour in range(3)]
    assert shares[0] == 1
    assert shares[1] == pytest.approx(0.625, abs=5 * 0.0153)
    assert shares[2] == pytest.approx(0.25, abs=5 * 0.0137)


def test_the_students_weights_are_part_of_the_name(mixed, recording, tmp_path):
    """Hours in which another student acted are others; who goes on with the same finds them again."""
    mixed.put(tmp_path / "store", range(2))
    other = recording(rules=MIXED, student=2)
    assert not same_steps(other.hour(0), mixed.hours[0])
    assert other.store.path(other.name(0)).name not in mixed.files
    again = recording(rules=MIXED, student=3)
    again.student_digests |= mixed.student_digests
    assert all(same_steps(again.hour(hour), mixed.hours[hour]) for hour in range(2))
    assert again.played_hours == 0
    again.store.path(again.name(1)).unlink()
    late = recording(rules=MIXED, student=3)
    late.student_digests |= mixed.student_digests
    with pytest.raises(Gone, match="the student's weights that played it"):
        late.hour(1)


def test_where_the_student_acts_no_hour_is_played_ahead(recording):
    """The student of the next hour is not known yet."""
    assert not recording(rules=MIXED, student=1, overlap=True).overlap


def test_the_name_says_which_emulator(monkeypatch):
    """Cartridge, emulator, the network's engine and how a game is begun are part of what an hour depends on."""
    torch.manual_seed(0)
    teacher = build("net3", num_actions=4)
    found = [provenance(RULES, teacher)]
    for what, value in (
        ("distill.hours.teacher_play.rom_md5", lambda game: "0"),
        ("distill.hours.teacher_play.version", lambda name: "0"),
        ("distill.engine.version", lambda name: "0"),
        ("distill.protocol.NOOP_MAX", 29),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(what, value)
            found.append(provenance(RULES, teacher))
    changed = {"frame_skip": 3, "fire_reset": True, "life_loss": True, "sticky": 0.1, "full_action_set": True}
    for one in changed.items():
        found.append(provenance(replace(RULES, env=EnvRules().given(**dict([one]))), teacher))
    assert all(one != other for place, one in enumerate(found) for other in found[:place])
