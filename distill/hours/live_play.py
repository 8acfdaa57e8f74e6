"""The play of a module that is being trained: a little at a time, always with its present weights.

Whenever a checkpoint is written, whoever asks for it, what was played since the last one becomes a file in the run's
folder, with where play stood at its end; so a run that goes on remembers what it knew and plays on, to the same bits.
"""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from distill.files.store import HOUR_SUFFIX, seal, unseal, write_atomically
from distill.hours.hour import Gone, Hour
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
        memory_length: Steps of each environment that a run that goes on has to remember.
        kept: What files hold: all that has to be remembered, up to where play goes on.
        hour_begin: Where in it the hour in which play goes on has begun; from there it comes once more from `steps`.
        num_threads: For the environments, 1 or more.

    Raises:
        Gone: where one of those files is missing or damaged, or of another number of environments.
    """

    def __init__(
        self,
        rules: PlayConfig,
        policy: Policy,
        folder: Path | None,
        *,
        memory_length: int,
        kept: Sequence[Stretch],
        hour_begin: int,
        num_threads: int,
    ) -> None:
        self.rules = rules
        self.kept: list[Stretch] = [(begin, end) for begin, end in kept]
        """What the files hold that must be remembered."""
        self.hour_begin = hour_begin
        """Step of each environment at which the present hour begins."""
        self._folder = folder
        self._name = f"{rules.game}-{rules.rank}"
        self._needed = memory_length + STACKED_FRAMES - 1
        before = [self._read(stretch) for stretch in self.kept]
        if before and (envs := before[-1].steps.frames.shape[1]) != rules.num_envs:
            raise Gone(f"{envs} environments played before; num_envs is {rules.num_envs}, and must be as it was")
        self._begin = self.kept[0][0] if before else 0
        self._again = Steps.joined([hour.steps for hour in before]) if before else None
        self._at = hour_begin
        """Step of each environment up to which `steps` has given what was played."""
        # At the end of what is kept.
        self._position = before[-1].position if before else PlayState.fresh(rules.num_envs)
        self._pieces: list[Steps] = []  # since then
        self._first_needed = deque([self._begin], maxlen=3)  # by the last checkpoints
        self._games = rules.games(num_threads)
        self._stepping = self._end * rules.num_envs
        epsilon = lambda: rules.epsilon_after(self._stepping)  # noqa: E731
        self._playing = play(policy, self._games, rules.episode, epsilon, self._position, packs=True)

    @property
    def _end(self) -> int:
        return self.kept[-1][1] if self.kept else 0

    @property
    def played_steps(self) -> int:
        """Count the steps that were given, over all environments."""
        return self._at * self.rules.num_envs

    @property
    def remembered(self) -> Steps | None:
        """Return the steps that were played before the present hour."""
        return None if self._again is None else self._again[: self.hour_begin - self._begin]

    def begin_hour(self) -> None:
        """Begin another hour with what is played next."""
        self.hour_begin = self._at

    def steps(self, steps: int, on_step: Callable[[int, int], None]) -> Steps:
        """Play, or give what was played already of the hour in which a run goes on.

        Args:
            steps: How many, over all environments.
            on_step: Called after each with the number of steps done, and of all.
        """
        length = steps // self.rules.num_envs
        first = self._at - self._begin
        if self._again is not None and first + length <= len(self._again):
            piece = self._again[first : first + length]
        else:
            self._again = None
            before = self.played_steps

            def count(done: int) -> None:
                self._stepping = before + done
                on_step(done, steps)

            piece = collect(self._playing, length, self._games, count)
            if self._folder is not None:
                self._pieces.append(piece)
        self._at += length
        return piece

    def keep(self) -> None:
        """Write what was played since the last call, if anything, as a file."""
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

    def remove_unneeded(self) -> None:
        """Remove files that neither the checkpoint just written needs nor the two before it.

        Whoever keeps other checkpoints than these is to leave it.
        """
        if self._folder is None or not self.kept:
            return
        self._first_needed.append(self.kept[0][0])
        for path in self._folder.glob(f"{self._name}-*{HOUR_SUFFIX}"):
            if int(path.stem.rpartition("-")[2]) <= self._first_needed[0]:
                path.unlink()

    def close(self) -> None:
        """Stop the environments."""
        self._games.close()

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
