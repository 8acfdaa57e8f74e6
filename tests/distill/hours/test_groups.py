"""Environments in groups play what they would play in step."""

import time
from collections.abc import Callable
from contextlib import closing

import numpy as np
import pytest
from same import same_steps

from distill.hours.groups import Groups
from distill.replay import Steps
from distill.rollout import PlayConfig, PlayState
from distill.schedule import Schedule

RULES = PlayConfig("pong", 0, 0, 5, 200, Schedule(hours=(0.0, 3.0), values=(1.0, 0.0)), 100)
"""Episodes of up to 25 steps."""


def counting(observations: np.ndarray) -> np.ndarray:
    """Values that depend on what is seen, in their last bits as well."""
    sums = observations.reshape(len(observations), -1).sum(axis=1, dtype=np.int64)
    return np.stack([(sums * prime) % 101 for prime in (3, 5, 7, 11, 13, 17)], axis=1).astype(np.float32)


def hours(count: int, policy=counting, begin_at: int = 0) -> list[Steps]:
    """Play three hours in so many groups."""
    with closing(Groups(RULES, count, 2, begin=lambda: None)) as groups:
        position, found = PlayState.fresh(5), []
        for hour in range(3):
            if hour in (0, begin_at):
                groups.begin(policy, lambda first_env: None, position, hour * RULES.hour_steps)
            told: list[int] = []
            found.append(groups.collect(40, told.append))
            position = position.after(found[-1])
            assert told == sorted(set(told))
            assert told[-1] == RULES.hour_steps
        return found


@pytest.fixture(scope="module")
def together() -> list[Steps]:
    """What all play in step."""
    return hours(1)


@pytest.mark.parametrize("count", [2, 9])  # nine are five, one for each environment
def test_groups_play_what_all_play_in_step(together, count):
    """Each environment plays the same episodes, explores as often, and sees the same, whatever its group is."""
    assert sum(steps.ended.sum() for steps in together) > 15
    assert all(same_steps(*pair) for pair in zip(hours(count), together, strict=True))


def test_a_slow_group_changes_nothing(together):
    """A group that is behind plays what it would have played."""
    asked = {}

    def slow(observations: np.ndarray) -> np.ndarray:
        asked[len(observations)] = asked.get(len(observations), 0) + 1
        time.sleep(0.02 * (len(observations) == 2 and asked[2] % 7 == 0))
        return counting(observations)

    assert all(same_steps(*pair) for pair in zip(hours(2, slow), together, strict=True))


def test_groups_begin_anywhere(together):
    """Groups that are brought to where others stood go on as those do."""
    assert all(same_steps(*pair) for pair in zip(hours(2, begin_at=2), together, strict=True))


def test_one_groups_failure_is_everyones():
    """Where one group fails the others end, and what it failed with is what is said, whichever group it is."""

    def failing(size: int) -> Callable[[np.ndarray], np.ndarray]:
        def policy(observations: np.ndarray) -> np.ndarray:
            if len(observations) == size:
                raise RuntimeError(f"the policy of {size}")
            return counting(observations)

        return policy

    for size in (2, 3):
        with pytest.raises(RuntimeError, match=f"the policy of {size}"):
            hours(2, failing(size))
