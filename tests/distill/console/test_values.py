"""What people type for null, for numbers and for games means what they mean."""

import pytest

from distill.atari.cartridge import game_name
from distill.console.configs import names, with_plain_values


def test_none_is_null_and_powers_are_whole_numbers():
    """As an option's value, in one word or two; a name that merely holds such a word stays."""
    typed = ["fit", "--data.store", "None", "--data.teacher=None", "--data.batch_size", "1e9", "--run_dir=None.d"]
    meant = [
        "fit",
        "--data.store",
        "null",
        "--data.teacher=null",
        "--data.batch_size",
        "1000000000",
        "--run_dir=None.d",
    ]
    assert with_plain_values(typed) == meant
    assert with_plain_values(["--model.learning_rate=1e-4", "None"]) == ["--model.learning_rate=1e-4", "None"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("pong", "pong"),
        ("Pong", "pong"),
        ("ALE/Pong-v5", "pong"),
        ("SpaceInvadersNoFrameskip-v4", "space_invaders"),
        ("ALE/Riverraid-v5", "riverraid"),
        ("MsPacman", "ms_pacman"),
    ],
)
def test_a_game_goes_by_gyms_name_too(typed, meant):
    """Both are one game."""
    assert game_name(typed) == meant


def test_an_unknown_game_names_what_is_near():
    """Not a hundred names."""
    with pytest.raises(ValueError, match=r"game 'breakuot' is unknown; did you mean breakout"):
        game_name("breakuot")


def test_the_configs_that_come_along_are_few():
    """Experiments and overlays have names; what runs have left in conf/results has none."""
    assert {"compress", "debug", "logger/wandb", "paper/one_game", "sweep/temperature"} <= set(names())
    assert len(names()) < 30
