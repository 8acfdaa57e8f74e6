"""Counted randomness: the same numbers for the same place of a run, others anywhere else."""

import numpy as np
import pytest

from distill.randomness import generator


def draw(*arguments: int | str) -> list[int]:
    return generator(*arguments).integers(2**62, size=4).tolist()


def test_same_arguments():
    """What was drawn before, here or elsewhere, changes nothing."""
    expected = draw(7, "minibatch", "pong", 0, 3)
    generator(7, "minibatch", "pong", 0, 3).random(100)
    np.random.default_rng().random(100)
    assert draw(7, "minibatch", "pong", 0, 3) == expected


def test_scheme():
    """The numbers are those that earlier versions drew, so that a run can be repeated."""
    assert generator(7, "minibatch", "pong", 0, 3).integers(2**62) == 2_929_749_488_717_188_432


@pytest.mark.parametrize(
    "other",
    [
        (8, "minibatch", "pong", 0, 3),
        (7, "play", "pong", 0, 3),
        (7, "minibatch", "freeway", 0, 3),
        (7, "minibatch", "pong", 1, 3),
        (7, "minibatch", "pong", 0, 4),
        (7, "minibatch", "pong", 3, 0),
        (7, "minibatch", "pong", 0),
        (7, "minibatch", "pong", 0, 3, 0),
        (7, "minibatch", 0, "pong", 3),
    ],
)
def test_other_arguments(other):
    """Seed, purpose and every counter count, and so does their order."""
    assert set(draw(7, "minibatch", "pong", 0, 3)).isdisjoint(draw(*other))


def test_counter_of_zero():
    """A counter of 0 is told from no counter."""
    assert draw(7, "bootstrap") != draw(7, "bootstrap", 0)
