"""The play of a teacher that does not change, hour by hour: found in the store, or played into it.

An hour depends on what its name is a hash of, the hour before among it; so runs that differ in their students alone
share one play. With overlap, a thread plays the next hour while a student learns from this one. Where the student acts
in a share of the episodes, its weights are part of the name.
"""

import functools
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import torch

from distill import protocol
from distill.atari.cartridge import rom_md5
from distill.engine import device_of, engine_of, frozen_policy
from distill.errors import DistillError
from distill.files.store import Store
from distill.hours.groups import Groups
from distill.hours.hour import FORMAT, Gone, Hour, hour_name
from distill.hours.source import Piece
from distill.networks import DQN
from distill.replay import Steps
from distill.rollout import GROUP_ENVS, PlayConfig, PlayState, Policy, environment_seed
from distill.weights.callables import CallableNetwork
from distill.weights.digests import digest, digest_of

WAIT_SECONDS = 0.2
ENOUGH_CORES = 4
"""With so many, learning leaves half of them to play."""
MOST_GROUPS = 8
"""Of environments, at most."""


class Division(NamedTuple):
    """The cores of play and of learning."""

    overlap: bool
    learn_threads: int
    play_threads: int


def divide_cores(cores: int, *, on_gpu: bool, overlap: bool | None) -> Division:
    """Divide the cores between play and learning.

    With enough cores learning has its half whether it shares them or not: weights depend on the number of threads in
    their last bits, and must not depend on who plays when. On a GPU it needs but one to ask for its kernels.

    Args:
        cores: How many there are.
        on_gpu: Whether learning is on a GPU.
        overlap: Whether play and learning go on at the same time; None means wherever that is faster.
    """
    enough = cores >= ENOUGH_CORES
    overlap = (on_gpu or enough) if overlap is None else overlap
    learn = 1 if on_gpu and enough else cores - cores // 2 if enough else cores
    play = max(1, cores - learn) if overlap or enough else cores
    return Division(overlap, learn, play)


def provenance(rules: PlayConfig, teacher: DQN | CallableNetwork) -> dict[str, Any]:
    """Collect everything that a teacher's play depends on, as plain values."""
    return {
        **{name: value for name, value in asdict(rules).items() if name != "env"},
        **({"rules": rules.env.changed} if rules.env.changed else {}),
        "teacher": digest_of(teacher),
        "engine": engine_of(teacher),
        "format": FORMAT,
        "rom_md5": rom_md5(rules.game),
        "ale_py": version("ale-py"),
        "frames_per_step": rules.env.frame_skip,
        "stacked_frames": protocol.STACKED_FRAMES,
        "noop_max": protocol.NOOP_MAX,
    }


class TeacherPlay:
    """A teacher's hours of one game, or those of one teacher after another.

    Args:
        rules: How they are played.
        teacher: Who plays; on the device where it is to play.
        store: Where they are kept.
        memory_hours: That are remembered; the newest so many and one more are held in the store, whatever its limit.
        overlap: Whether `play_ahead` does anything: whether an hour is played while others are learned.
        num_threads: For the environments, and for the teacher on the CPU; 1 or more.
        student: Who acts in the episodes in which the teacher does not, with the weights that it has when an hour
            begins; so no hour is played ahead. Needed where `rules.beta` is below 1.
    """

    def __init__(
        self,
        rules: PlayConfig,
        teacher: DQN | CallableNetwork,
        store: Store,
        *,
        memory_hours: float,
        overlap: bool,
        num_threads: int,
        student: DQN | CallableNetwork | None = None,
    ) -> None:
        self.rules = rules
        self.store = store
        self.keep_hours = math.ceil(memory_hours) + 1
        self.overlap = overlap and student is None
        self.student_digests: dict[int, str] = {}
        """Of the student's weights in each hour, where it acts: what a run that goes on must know."""
        self.played_hours = 0
        """Hours that were played here, not found."""
        self._teachers = [(0, teacher, provenance(rules, teacher))]
        self._student = student
        self._num_threads = num_threads
        self._remembered: int | None = None  # hours that were given to be remembered; None before the first
        self._forget_at = 0
        self._due = range(0)
        # Threads can share a network that does not learn, and that is known to have no state. On two cores three groups
        # or five play 1.2 times as many steps a second as one: the emulators of some run while others are answered.
        shared = not isinstance(teacher, CallableNetwork) and not isinstance(student, CallableNetwork)
        self._num_groups = min(MOST_GROUPS, math.ceil(rules.num_envs / GROUP_ENVS)) if shared else 1
        self._names: list[str] = []
        self._groups: Groups | None = None  # made when they are needed: 30 environments take 2.6 seconds
        self._position = 0, PlayState.fresh(rules.num_envs)  # at the beginning of that hour
        self._groups_at: int | None = None  # the hour at whose beginning they stand
        self._played_steps = 0  # since the beginning of hour 0, as if every hour had been played here
        self._closing = threading.Event()
        self._worker = ThreadPoolExecutor(1, "play", initializer=self._begin)
        self._ahead: tuple[int, Future[Steps]] | None = None

    def _begin(self) -> None:
        torch.set_num_threads(self._num_threads)
        device = device_of(self._teachers[0][1])
        if device.type == "cuda":
            # Play asks for little and waits for it, learning asks for much in advance: play is not to stand behind it.
            stream = torch.cuda.Stream(device, priority=-1)
            stream.wait_stream(torch.cuda.default_stream(device))  # for the teacher's weights
            torch.cuda.set_stream(stream)

    def name(self, hour: int) -> str:
        """Name an hour's file; see `hour_name`."""
        while len(self._names) <= hour:
            number = len(self._names)
            self._names.append(hour_name(self._header(number), number, self._names[-1] if self._names else None))
        return self._names[hour]

    def _header(self, hour: int) -> dict[str, Any]:
        _, _, header = self._whose(hour)
        return header if self._student is None else {**header, "student": self.student_digests[hour]}

    def change_teacher(self, hour: int, teacher: DQN | CallableNetwork, *, forget: bool = False) -> None:
        """Have another play from an hour on, which no one has asked for yet; episodes go on as they stand.

        Args:
            hour: Above those of all former changes.
            teacher: On the device where it is to play.
            forget: Whether the hours before that one are forgotten when it is remembered.
        """
        assert not self.overlap, "the hour after a change may have been played already"
        assert hour > self._teachers[-1][0], "teachers change in the order of their hours"
        self.name(hour - 1)
        del self._names[hour:]
        self._teachers.append((hour, teacher, provenance(self.rules, teacher)))
        if forget:
            self._forget_at = hour

    def _whose(self, hour: int) -> tuple[int, DQN | CallableNetwork, dict[str, Any]]:
        return [one for one in self._teachers if one[0] <= hour][-1]

    def begin_refill(self, pieces: int, *, played: int, new_hour: bool, resuming_mid_hour: bool) -> None:
        """Prepare for a refill; see `PlaySource`. Where a run goes on, more than one hour may be due.

        That is one more than is remembered: the oldest observation needs the frames before it.
        """
        oldest = pieces - self.keep_hours if self._remembered is None else self._remembered
        self._remembered = pieces if pieces else None
        self._due = range(max(0, self._forget_at - 1, oldest), pieces)
        if len(self._due) > 1:  # none is to make room for another
            known = [hour for hour in self._due if self._student is None or hour in self.student_digests]
            self.store.hold(map(self.name, known))

    def due(self, on_step: Callable[[int, int], None]) -> Iterator[Piece]:
        """Find or play what is due; see `PlaySource`."""
        of_all = self.rules.hour_steps
        for hour in self._due:
            yield Piece(self.hour(hour, lambda done: on_step(done, of_all)), forget=hour == self._forget_at)

    def hour(self, hour: int, on_step: Callable[[int], None] = lambda done: None) -> Steps:
        """Return an hour, counted from 0: read it from the store, or play it.

        Args:
            hour: Which.
            on_step: Called now and then while play goes on, with the number of steps done.
        """
        if self._student is not None and hour not in self.student_digests:
            self.student_digests[hour] = digest(self._student)
        if not self.overlap:
            # Not in a thread of its own: OpenMP keeps a team of threads for each, and as soon as they outnumber the
            # cores its barriers sleep instead of spinning, which costs the smallest student a third of its updates.
            return self._get(hour, on_step)
        future = self._ahead[1] if self._ahead and self._ahead[0] == hour else self._worker.submit(self._get, hour)
        while not wait([future], WAIT_SECONDS).done:
            on_step(max(0, self._played_steps - hour * self.rules.hour_steps))
        return future.result()

    def is_stored(self, piece: int) -> bool:
        """Return whether an hour is in the store; always no where a student acts, since no name is known in advance."""
        return self._student is None and self.store.path(self.name(piece)).exists()

    def play_ahead(self, piece: int) -> None:
        """Where play overlaps with learning, begin to find or play an hour that will be asked for."""
        if self.overlap:
            self._ahead = piece, self._worker.submit(self._get, piece)

    def state_dict(self) -> dict[str, Any]:
        """Return the digests by which hours are found in which the student acted."""
        return {"students": dict(self.student_digests)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load these digests.

        Raises:
            ValueError: where the run has learned from a dataset.
        """
        if "students" not in state:
            raise DistillError("this run has learned from a dataset; give that as its teacher")
        self.student_digests |= state["students"]

    def checkpoint_is_written(self) -> None:
        """Do nothing: the store has limits of its own."""

    def close(self, *, failed: bool = False) -> None:
        """Stop playing, and let the files go."""
        self._closing.set()
        self._worker.shutdown(cancel_futures=True)
        if self._groups is not None:
            self._groups.close()
        self.store.close()

    def _get(self, hour: int, on_step: Callable[[int], None] = lambda done: None) -> Steps:
        first = hour
        while first > self._position[0] and not self.store.path(self.name(first)).exists():
            first -= 1
        for one in range(first, hour + 1):
            make = functools.partial(self._play, one, on_step)
            found = self.store.get(self.name(one), make, Hour.from_bytes, on_wait=self._go_on)
            self._position = one + 1, found.position
            if one >= self.keep_hours:
                self.store.release(self.name(one - self.keep_hours))
        return found.steps

    def _play(self, hour: int, on_step: Callable[[int], None]) -> bytes:
        rules = self.rules
        if self._student is not None and self.student_digests[hour] != digest(self._student):
            gone = self.store.path(self.name(hour))
            raise Gone(f"{gone} is gone, and so are the student's weights that played it; begin a new run")
        if hour == 0:
            self._position = 0, PlayState.fresh(rules.num_envs)
        elif self._position[0] != hour:
            self._get(hour - 1, on_step)
        position = self._position[1]
        self._policy = self._frozen(self._whose(hour)[1])
        self._actors = self._actors_in(hour)
        self._groups = self._groups or Groups(rules, self._num_groups, self._num_threads, self._begin)
        before = hour * rules.hour_steps
        if self._groups_at != hour:
            policy, actors_of = lambda seen: self._policy(seen), lambda first: lambda *seen: self._actors(first, *seen)
            self._groups.begin(policy, actors_of, position, before)

        def count(done: int) -> None:
            self._played_steps = before + done
            self._go_on()
            on_step(done)

        self._played_steps = before
        self._groups_at = None  # where play breaks off, they are not at the same step
        steps = self._groups.collect(rules.hour_steps // rules.num_envs, count)
        self._groups_at = hour + 1
        self.played_hours += 1
        position = position.after(steps)
        seeds = [environment_seed(rules.episode(*of)) for of in enumerate(position.numbers.tolist())]
        return Hour(steps, position).to_bytes({**self._header(hour), "hour": hour, "open_seeds": seeds})

    def _frozen(self, network: DQN | CallableNetwork) -> Policy:
        return frozen_policy(network, num_threads=max(1, self._num_threads // self._num_groups))

    def _go_on(self) -> None:
        if self._closing.is_set():
            raise CancelledError

    def _actors_in(self, hour: int) -> Callable[[int, np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
        """Return who acts in environments from a first on; see `distill.rollout.Actors`."""
        if self._student is None:
            return lambda first_env, observations, values, episodes: values
        student, student_acts = self._frozen(self._student), functools.cache(self.rules.student_acts)

        def actors(first_env: int, observations: np.ndarray, values: np.ndarray, episodes: np.ndarray) -> np.ndarray:
            its = np.array([student_acts(env, number, hour) for env, number in enumerate(episodes.tolist(), first_env)])
            if its.any():
                values = values.copy()
                values[its] = student(observations[its])
            return values

        return actors
