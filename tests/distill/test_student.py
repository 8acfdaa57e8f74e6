"""The student module: its losses, and what a user's subclass changes."""

import pytest
import torch
from torch.testing import assert_close

from distill.losses import gap_loss, kl_loss, mse_loss, nll_loss
from distill.replay import Minibatch
from distill.student import StudentModule


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    observations = torch.randint(0, 256, (5, 4, 84, 84), dtype=torch.uint8, generator=generator)
    return Minibatch(observations, torch.randn(5, 6, generator=generator))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nll", nll_loss),
        ("mse", mse_loss),
        ("kl", lambda q, labels: kl_loss(q, labels, temperature=0.5)),
        ("gap", lambda q, labels: gap_loss(q, labels, temperature=0.5)),
    ],
)
def test_the_loss_is_the_named_one(batch, name, expected):
    """`loss_name` picks the pure function, and `kl` gets the module's temperature."""
    student = StudentModule("pong", loss_name=name, temperature=0.5)
    assert_close(student.loss(batch), expected(student(batch.observations), batch.labels))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"game": "pongg"}, "choose one of .*pong"),
        ({"network": "net9"}, "dqn, net1, net2, net3"),
        ({"loss_name": "kll"}, "nll, mse, kl, gap"),
        ({"temperature": 0.0}, "above 0"),
        ({"temperature": -1.0}, "above 0"),
        ({"temperature": float("nan")}, "above 0"),
        ({"learning_rate": 0.0}, "above 0"),
    ],
)
def test_bad_arguments_are_refused_with_what_is_allowed(arguments, reason):
    """Each bad argument gives a `ValueError` that says what is allowed."""
    with pytest.raises(ValueError, match=reason):
        StudentModule(**{"game": "pong", **arguments})


def test_the_game_sets_the_number_of_actions():
    """The network has one output per legal action of the game."""
    assert StudentModule("freeway").network.num_actions == 3
