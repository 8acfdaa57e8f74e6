"""The play of a module that is being trained: a little at a time, always with its present weights.

What an hour of the run brought is a file in its folder, with where play stood at the end; so a run that goes on
remembers what it knew and plays on from there, to the same bits.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from distill.hours import Gone, Hour
from distill.replay import STACKED_FRAMES, Steps
from distill.rollout import Policy, Rules, Unfinished, collect, play
from distill.store import SUFFIX, seal, unseal, write_atomically


class SelfPlay:
    """Play that goes on from piece to piece.

    Args:
        rules: How it plays.
        policy: The module's, asked anew at each step.
        folder: Where its files are; None keeps none.
        memory_length: Steps of each environment that a run that goes on has to remember.
        played_steps: Over all environments, before this.
        kept: Hours whose files hold the last of them.
        num_threads: For the environments, 1 or more.

    Raises:
        Gone: where one of those files is missing or damaged.
    """

    def __init__(
        self,
        rules: Rules,
        policy: Policy,
        folder: Path | None,
        *,
        memory_length: int,
        played_steps: int,
        kept: Sequence[int],
        num_threads: int,
    ) -> None:
        self.rules = rules
        self.played_steps = played_steps
        self.kept = list(kept)
        """Hours whose files hold what must be remembered."""
        self._folder = folder
        self._name = f"{rules.game}-{rules.rank}"
        self._needed = memory_length + STACKED_FRAMES - 1
        before = [self._read(hour) for hour in kept]
        self.remembered = [hour.steps for hour in before]
        """What was played before."""
        self._lengths = {hour: len(steps.actions) for hour, steps in zip(kept, self.remembered, strict=True)}
        self._stand = before[-1].stand if before else Unfinished.fresh(rules.num_envs)
        self._pieces: list[Steps] = []  # since then
        self._games = rules.games(num_threads)
        epsilon = lambda: rules.epsilon_after(self.played_steps)  # noqa: E731
        self._playing = play(policy, self._games, rules.episode, epsilon, self._stand)

    def steps(self, steps: int, on_step: Callable[[int, int], None]) -> Steps:
        """Play.

        Args:
            steps: How many, over all environments.
            on_step: Called after each with the number of steps done, and of all.
        """
        before = self.played_steps

        def count(done: int) -> None:
            self.played_steps = before + done
            on_step(done, steps)

        piece = collect(self._playing, steps // self.rules.num_envs, self._games, count)
        if self._folder is not None:
            self._pieces.append(piece)
        return piece

    def keep(self, hour: int) -> None:
        """Write what was played since the last call, if anything, as an hour's file; remove what nobody needs.

        The files that the hour before named stay: whoever is killed before its checkpoint is written goes on from them.
        """
        if not self._pieces:
            return
        steps = Steps.joined(self._pieces)
        self._pieces.clear()
        self._stand = self._stand.after(steps)
        content = Hour(steps, self._stand).to_bytes({"game": self.rules.game, "rank": self.rules.rank, "hour": hour})
        write_atomically(self._path(hour), seal(content))
        for path in self._folder.glob(f"{self._name}-*{SUFFIX}"):
            if self.kept and int(path.stem.rpartition("-")[2]) < self.kept[0]:
                path.unlink()
        self._lengths[hour] = len(steps.actions)
        self.kept.append(hour)
        while sum(self._lengths[one] for one in self.kept[1:]) >= self._needed:
            self.kept.pop(0)

    def close(self) -> None:
        """Stop the environments."""
        self._games.close()

    def _path(self, hour: int) -> Path:
        return self._folder / f"{self._name}-{hour:04}{SUFFIX}"

    def _read(self, hour: int) -> Hour:
        if self._folder is None:
            raise Gone("this run keeps no checkpoints, and so no memory to go on with")
        try:
            return Hour.from_bytes(unseal(self._path(hour).read_bytes()))
        except (OSError, ValueError) as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
            raise Gone(
                f"{self._path(hour)} {reason}; a run that plays itself needs its memory to go on, in its own folder"
            ) from error
