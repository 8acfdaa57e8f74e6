"""Environments that play hours in groups, each in a thread and at a pace of its own.

Where an episode ends, the next begins with a fresh cartridge, which takes the emulator a tenth of a second;
environments that step together wait for it, those of another group do not.
"""

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait

import numpy as np
import torch

from distill.replay import Steps
from distill.rollout import Actors, PlayConfig, PlayState, Policy, collect, play


class Groups:
    """The environments of one game, which play the same steps whatever groups they are in.

    They do to the last bit where the policy's values do not depend on how many observations it is asked about at once.

    Args:
        rules: How they play.
        count: How many groups; no more than environments.
        num_threads: For all environments, 1 or more.
        begin: What each group's thread does first, where there are several.
    """

    def __init__(self, rules: PlayConfig, count: int, num_threads: int, begin: Callable[[], None]) -> None:
        count = min(count, rules.num_envs)
        bounds = np.linspace(0, rules.num_envs, count + 1).round().astype(int).tolist()
        self._rules = rules
        self._envs = [slice(*each) for each in itertools.pairwise(bounds)]
        # A group whose policy is asked, or that waits for a cartridge, leaves its cores to the others.
        threads = num_threads if count == 1 else max(1, 2 * num_threads // count)
        self._games = [rules.games(threads, envs.stop - envs.start) for envs in self._envs]
        self._pool = ThreadPoolExecutor(count, "group", initializer=begin) if count > 1 else None
        self._taken = [0] * count
        self._telling = threading.Lock()

    def begin(self, policy: Policy, actors_of: Callable[[int], Actors | None], position: PlayState, steps: int) -> None:
        """Begin anew, from any position.

        Args:
            policy: Asked by all groups, at the same time.
            actors_of: Who acts in the environments from this one on; see `play`.
            position: Of all environments.
            steps: That were played over all environments before it.
        """
        rules = self._rules
        self._taken = [steps // rules.num_envs] * len(self._games)

        def epsilon_of(group: int) -> Callable[[], float]:
            return lambda: rules.epsilon_after(self._taken[group] * rules.num_envs)

        self._playing = []
        for group, (games, envs) in enumerate(zip(self._games, self._envs, strict=True)):
            at = position.of_envs(envs)
            episodes = rules.episodes_from(at.numbers, envs.start)
            actors = actors_of(envs.start)
            self._playing.append(play(policy, games, episodes, epsilon_of(group), at.actions, actors, packs=True))

    def collect(self, length: int, on_step: Callable[[int], None] = lambda done: None) -> Steps:
        """Take so many steps of play in each environment.

        Args:
            length: How many, T.
            on_step: Called by one thread at a time after each step that all groups have taken, with the number of steps
                done over all environments.
        """
        steps, self._began = Steps.empty(length, self._rules.num_envs, self._games[0].num_actions), self._taken[0]
        self._told, self._given_up = self._began, False
        if self._pool is None:
            self._collect(0, steps, on_step)
            return steps
        if torch.cuda.is_initialized():
            torch.cuda.current_stream().synchronize()  # for the teacher's weights, which groups read on their own
        groups = [self._pool.submit(self._collect, group, steps, on_step) for group in range(len(self._games))]
        wait(groups)
        errors = [error for one in groups if (error := one.exception()) is not None]
        # Who gave up because another did says less than that other.
        for error in sorted(errors, key=lambda error: isinstance(error, CancelledError)):
            raise error
        return steps

    def _collect(self, group: int, steps: Steps, on_step: Callable[[int], None]) -> None:
        def count(done: int) -> None:
            if self._given_up:
                raise CancelledError
            self._taken[group] += 1
            with self._telling:
                if (all_have := min(self._taken)) > self._told:
                    self._told = all_have
                    on_step((all_have - self._began) * self._rules.num_envs)

        try:
            collect(self._playing[group], len(steps), self._games[group], count, into=steps.of_envs(self._envs[group]))
        except BaseException:
            self._given_up = True
            raise

    def close(self) -> None:
        """Stop the environments' threads; nothing is being played."""
        if self._pool is not None:
            self._pool.shutdown()
        for games in self._games:
            games.close()
