"""The play of a module that is being trained: a little at a time, always with its present weights."""

from collections.abc import Callable

from distill.replay import Steps
from distill.rollout import Policy, Rules, collect, play


class SelfPlay:
    """Play that goes on from piece to piece.

    Args:
        rules: How it plays.
        policy: The module's, asked anew at each step.
        hour: Where the run begins or goes on, from 0; in a later hour with other episodes than in an earlier.
        warmup_steps: Steps that the first piece has more than what it is asked for.
        num_threads: For the environments, 1 or more.
    """

    def __init__(self, rules: Rules, policy: Policy, *, hour: int, warmup_steps: int, num_threads: int) -> None:
        self.rules = rules
        self.played_steps = hour * rules.hour_steps
        self._warmup_steps = warmup_steps
        self._games = rules.games(num_threads)
        episodes = lambda number: rules.episode(number, hour)  # noqa: E731
        self._playing = play(policy, self._games, episodes, lambda: rules.epsilon_after(self.played_steps))

    def steps(self, steps: int, on_step: Callable[[int, int], None]) -> Steps:
        """Play.

        Args:
            steps: How many, over all environments.
            on_step: Called after each with the number of steps done, and of all.
        """
        steps += self._warmup_steps
        self._warmup_steps = 0
        before = self.played_steps

        def count(done: int) -> None:
            self.played_steps = before + done
            on_step(done, steps)

        return collect(self._playing, steps // self.rules.num_envs, self._games, count)

    def close(self) -> None:
        """Stop the environments."""
        self._games.close()
