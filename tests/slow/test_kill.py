"""Killed anywhere, a run that goes on ends in the same bits: real runs on real games, real SIGKILLs.

Each life of a run is a forked process, which has everything imported already. It is killed after a number of events
that a fixed seed draws: at its n-th step of play, in its n-th backward pass, at the n-th time a file is synced or
renamed, or after n milliseconds, wherever it is.

    pytest -n 0 -m slow -s tests/slow
"""

import contextlib
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from forked import fork

import distill.atari.environments
from distill.cli import main
from distill.runs.checkpoints import Checkpoints
from distill.weights.load import load_network

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),  # no other thread works while these run
]

TINY = ["--config", "conf/debug.yaml", "--data.hour_steps=240", "--data.max_frames=200", "--data.eval_episodes=2"]
TINY += ["--data.block_updates=2", "--data.memory_hours=1.5", "--trainer.check_val_every_n_epoch=2"]
TINY += ["--trainer.precision=32-true"]
STUDENT = ["--config", "conf/compress.yaml", *TINY, "--model.network=net3"]
TEACHER = ["--config", "conf/online_teacher.yaml", *TINY, "--data.refills_per_hour=2", "--data.warmup_steps=40"]
TEACHER += ["--model.network=net3", "--model.target_updates=6"]
SEVERAL = ["--config", "conf/multitask3.yaml", *TINY, "--data.updates_per_hour=8"]
FOLLOWING = ["--config", "conf/online_student.yaml", *TINY, "--model.network=net3"]
EVENTS = {"step": 130, "update": 24, "write": 8, "milliseconds": 3000}
"""The ways in which a life ends, and the most of them that it lasts."""
GAMES = ["freeway", "pong", "qbert"]


def end_after(event: str, number: int) -> None:
    """Kill this process when something has happened so many times."""
    left = [number]

    def counting(call):
        def counted(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return counted

    if event == "step":
        distill.atari.environments.Atari.send = counting(distill.atari.environments.Atari.send)
    elif event == "update":
        torch.Tensor.backward = counting(torch.Tensor.backward)
    elif event == "write":
        os.fsync, os.replace = counting(os.fsync), counting(os.replace)
    else:
        threading.Timer(number / 1000, os.kill, (os.getpid(), signal.SIGKILL)).start()


class Run:
    """A run of `fit`: its lives, one after the other.

    Args:
        name: Its folder.
        args: Its command line.
    """

    def __init__(self, name: str, args: list[str]) -> None:
        self.name, self.args, self.log = name, args, Path(f"{name.replace('/', '-')}.log")
        self.killed = 0

    def live(self, life: tuple[str, int] | None = None) -> int:
        """Begin or go on, in a forked process; return its number."""

        def work() -> None:
            Checkpoints.__init__.__defaults__ = (0.2,)  # seconds between two of them
            if life is not None:
                end_after(*life)
            begun = Path(self.name, "config.yaml").is_file()
            command = ["--resume", self.name] if begun else [*self.args, "--run_dir", self.name]
            main(["fit", *command])

        return fork(self.log, work)

    def ended(self, child: int) -> bool:
        """Wait for a life's end; say whether it was the run's."""
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, -signal.SIGKILL), self.log.read_text()[-3000:]
        self.killed += code != 0
        return code == 0

    def live_to_the_end(self) -> None:
        """Go on, and end."""
        assert self.ended(self.live()), self.log.read_text()[-3000:]


def lives(draw: random.Random, kills: int) -> list[tuple[str, int]]:
    """Draw how lives end; each way comes up equally often."""
    events = (list(EVENTS) * kills)[:kills]
    return [(event, draw.randint(1, EVENTS[event])) for event in events]


def same(one: str, other: str, file: str, games: list[str | None]) -> bool:
    """Say whether two runs left the same bits."""
    for game in games:
        ours, others = (load_network(f"{run}/{file}.safetensors", game)[0].state_dict() for run in (one, other))
        if not all(torch.equal(tensor, others[name]) for name, tensor in ours.items()):
            return False
    return True


@pytest.fixture(autouse=True)
def _alone(workdir):
    """A fork has only the memory of other threads: in this process PyTorch must not have any."""
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("what", "args", "hours", "kills", "file", "games"),
    [
        ("a student", STUDENT, 14, 20, "student", [None]),
        ("a learning teacher", TEACHER, 6, 5, "teacher", [None]),
        ("a student of three games", SEVERAL, 6, 5, "student", GAMES),
    ],
)
def test_killed_anywhere_it_ends_in_the_same_bits(what, args, hours, kills, file, games):
    """A run that was killed again and again ends as one that never was."""
    begin = time.monotonic()
    whole, killed = (Run(name, [*args, f"--trainer.max_epochs={hours}"]) for name in ("whole", "killed"))
    whole.live_to_the_end()
    for life in lives(random.Random(0), kills):
        assert not killed.ended(killed.live(life)), "it ended before it could be killed"
    killed.live_to_the_end()
    assert same("whole", "killed", file, games)
    print(f"\n{what}: killed at {killed.killed} points, survived {killed.killed}; {time.monotonic() - begin:.0f} s")


def test_a_teacher_and_its_student_killed_side_by_side_end_in_the_same_bits():
    """Whichever of the two was killed, and whatever the other was doing, both end as if nothing had happened."""
    begin, hours = time.monotonic(), "--trainer.max_epochs=6"
    pairs = {
        name: (Run(f"{name}/teacher", [*TEACHER, hours]), Run(f"{name}/student", [*FOLLOWING, hours, follow]))
        for name in ("whole", "killed")
        for follow in [f"--data.teacher={name}/teacher"]
    }
    for run in pairs["whole"]:
        run.live_to_the_end()
    teacher, student = pairs["killed"]
    draw = random.Random(0)
    for first, second in zip(lives(draw, 5), lives(draw, 5)[::-1], strict=True):
        learning = teacher.live(first)
        following = student.live(second) if Path("killed/teacher/best/index.json").is_file() else None
        teacher.ended(learning)
        if following is not None:
            time.sleep(1)
            with contextlib.suppress(ProcessLookupError):
                os.kill(following, signal.SIGKILL)  # it may be waiting for its teacher
            student.ended(following)
    learning = teacher.live()
    while not Path("killed/teacher/best/index.json").is_file():
        time.sleep(0.1)
    student.live_to_the_end()
    assert teacher.ended(learning)
    assert same("whole/teacher", "killed/teacher", "teacher", [None])
    assert same("whole/student", "killed/student", "student", [None])
    kills = teacher.killed + student.killed
    print(f"\na teacher and its student: killed at {kills} points, survived {kills}; {time.monotonic() - begin:.0f} s")
    assert kills >= 5
