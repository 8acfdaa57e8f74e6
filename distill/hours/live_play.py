"""The play of a module that is being trained: a little at a time, always with its present weights.

Whenever a checkpoint is written, whoever asks for it, what was played since the last one becomes a file in the run's
folder, with where play stood at its end; so a run that goes on remembers what it knew and plays on, to the same bits.
"""

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from distill.atari.environments import Atari
from distill.files.store import HOUR_SUFFIX, seal, unseal, write_atomically
from distill.hours.hour import Gone, Hour
from distill.hours.source import Piece
from distill.protocol import STACKED_FRAMES
from distill.replay import Steps
from distill.rollout import PlayConfig, PlayState, Policy, collect, play

Stretch = tuple[int, int]
"""From which step of each environment to which, counted from the run's beginning; the last is not in it."""


class LivePlay:
    """Play that goes on from piece to piece.

    Args:
        rules: How it plays.
        policy: The module's, asked anew at each step.
        folder: Where its files are; None keeps none.
        piece_steps: Steps of a piece, over all environments.
        warmup_steps: Steps that come before the first piece.
        memory_length: Steps of each environment that a run that goes on has to remember.
        num_threads: For the environments, 1 or more.
    """

    def __init__(
        self,
        rules: PlayConfig,
        policy: Policy,
        folder: Path | None,
        *,
        piece_steps: int,
        warmup_steps: int = 0,
        memory_length: int,
        num_threads: int,
    ) -> None:
        self.rules = rules
        self.overlap = False
        self.kept: list[Stretch] = []
        """What the files hold that must be remembered, up to where play goes on."""
        self.hour_begin = 0
        """Step of each environment at which the present hour begins; from there it comes once more in a resumed run."""
        self._policy = policy
        self._folder = folder
        self._piece_steps = piece_steps
        self._warmup_steps = warmup_steps
        self._num_threads = num_threads
        self._name = f"{rules.game}-{rules.rank}"
        self._needed = memory_length + STACKED_FRAMES - 1
        self._state: dict[str, Any] = {"kept": [], "hour_begin": 0}
        self._games: Atari | None = None  # opened with the first refill, when the state is loaded
        self._asked = self._given = 0  # pieces
        self._pieces: list[Steps] = []  # since the end of what is kept

    def begin_refill(self, pieces: int, *, played: int, new_hour: bool, resuming_mid_hour: bool) -> None:
        """Prepare for a refill; see `PlaySource`. The first goes on from what was kept.

        Raises:
            Gone: where a file is missing or damaged, or of another number of environments.
        """
        if self._games is None:
            self._open(played, resuming_mid_hour)
        elif new_hour:
            self.hour_begin = self._at
        self._asked = pieces

    def _open(self, played: int, resuming_mid_hour: bool) -> None:
        rules, kept = self.rules, self._state["kept"]
        if (played and not kept) or "hour_begin" not in self._state:
            raise Gone("this checkpoint does not say what its run had played and remembered; begin a new run")
        self.kept = [(begin, end) for begin, end in kept]
        self.hour_begin = self._state["hour_begin"] if resuming_mid_hour or not kept else self._end
        before = [self._read(stretch) for stretch in self.kept]
        if before and (envs := before[-1].steps.frames.shape[1]) != rules.num_envs:
            raise Gone(f"{envs} environments played before; num_envs is {rules.num_envs}, and must be as it was")
        self._begin = self.kept[0][0] if before else 0
        self._again = Steps.joined([hour.steps for hour in before]) if before else None
        self._at = self.hour_begin  # step of each environment up to which what was played has been given
        # At the end of what is kept.
        self._position = before[-1].position if before else PlayState.fresh(rules.num_envs)
        self._first_needed = deque([self._begin], maxlen=3)  # by the last checkpoints
        self._given = played
        self._games = rules.games(self._num_threads)
        self._stepping = self._end * rules.num_envs
        epsilon = lambda: rules.epsilon_after(self._stepping)  # noqa: E731
        episodes = rules.episodes_from(self._position.numbers)
        self._playing = play(self._policy, self._games, episodes, epsilon, self._position.actions, packs=True)
        self._remembered = None if self._again is None else self._again[: self.hour_begin - self._begin]

    @property
    def _end(self) -> int:
        return self.kept[-1][1] if self.kept else 0

    def due(self, on_step: Callable[[int, int], None]) -> Iterator[Piece]:
        """Yield what was kept from before the present hour, and then what is played; see `PlaySource`."""
        if self._remembered is not None:
            yield Piece(self._remembered)
            self._remembered = None
        while self._given < self._asked:
            self._given += 1
            yield Piece(self._next(self._piece_steps if self._at else self._warmup_steps + self._piece_steps, on_step))

    def _next(self, steps: int, on_step: Callable[[int, int], None]) -> Steps:
        """Play, or take what was played already of the hour in which a run goes on."""
        assert self._games is not None, "a refill has begun"
        length = steps // self.rules.num_envs
        first = self._at - self._begin
        if self._again is not None and first + length <= len(self._again):
            piece = self._again[first : first + length]
        else:
            self._again = None
            before = self._at * self.rules.num_envs

            def count(done: int) -> None:
                self._stepping = before + done
                on_step(done, steps)

            piece = collect(self._playing, length, self._games, count)
            if self._folder is not None:
                self._pieces.append(piece)
        self._at += length
        return piece

    def play_ahead(self, piece: int) -> None:
        """Do nothing: what will be played depends on what is learned first."""

    def is_stored(self, piece: int) -> bool:
        """Return False: every piece is played."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """Write what was played since the last call as a file; return what it takes to find all that are needed."""
        if self._games is not None:
            self._keep()
            self._state = {"kept": list(self.kept), "hour_begin": self.hour_begin}
        return self._state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what `state_dict` returned."""
        self._state = state

    def _keep(self) -> None:
        if self._folder is None or not self._pieces:
            return
        steps = Steps.joined(self._pieces)
        position = self._position.after(steps)
        stretch = self._end, self._end + len(steps)
        header = {"game": self.rules.game, "rank": self.rules.rank, "steps_of_each": stretch}
        write_atomically(self._path(stretch), seal(Hour(steps, position).to_bytes(header)))
        self._pieces, self._position, self.kept = [], position, [*self.kept, stretch]
        while len(self.kept) > 1 and self.hour_begin - self.kept[1][0] >= self._needed:
            self.kept.pop(0)

    def checkpoint_is_written(self) -> None:
        """Remove files that neither the checkpoint just written needs nor the two before it.

        Whoever keeps other checkpoints than these is to leave it.
        """
        if self._folder is None or not self.kept:
            return
        self._first_needed.append(self.kept[0][0])
        for path in self._folder.glob(f"{self._name}-*{HOUR_SUFFIX}"):
            if int(path.stem.rpartition("-")[2]) <= self._first_needed[0]:
                path.unlink()

    def close(self, *, failed: bool = False) -> None:
        """Stop the environments; the state stays, brought up to date unless something has failed."""
        if not failed:
            self.state_dict()
        if self._games is not None:
            self._games.close()
        self._games = None

    def _path(self, stretch: Stretch) -> Path:
        assert self._folder is not None, "without a folder nothing is kept"
        return self._folder / f"{self._name}-{stretch[0]:09}-{stretch[1]:09}{HOUR_SUFFIX}"

    def _read(self, stretch: Stretch) -> Hour:
        if self._folder is None:
            raise Gone("this run keeps no checkpoints, and so no memory to go on with")
        try:
            return Hour.from_bytes(unseal(self._path(stretch).read_bytes()))
        except (OSError, ValueError) as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
            raise Gone(
                f"{self._path(stretch)} {reason}; a run that plays itself needs its memory to go on, in its own folder"
            ) from error
