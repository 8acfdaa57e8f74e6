"""A game's cartridge: its legal actions, its identity, and one emulator that plays it frame by frame."""

import difflib
import functools
import hashlib
import re
from pathlib import Path

import ale_py
import numpy as np
from ale_py import roms
from jaxtyping import UInt8

from distill.errors import DistillError

ALL_ACTIONS = 18
"""What a console's joystick and button can do; the games understand some of them."""


def games() -> list[str]:
    """List the games there are, by the ALE's lower-case names."""
    return sorted(roms.get_all_rom_ids())


def game_name(game: str) -> str:
    """Return the ALE's name of a game, of that name or of Gym's: `pong` of `Pong`, `ALE/Pong-v5`, `PongNoFrameskip-v4`.

    Raises:
        ValueError: for an unknown game, naming what is near.
    """
    plain = re.sub(r"(NoFrameskip|Deterministic|-ram)?-v\d+$", "", game.rpartition("/")[2])
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", plain).lower()
    for name in (game, plain, plain.replace("_", "")):
        if name in games():
            return name
    near = difflib.get_close_matches(plain, games(), n=3)
    meant = f"did you mean {' or '.join(near)}?" if near else "names are the ALE's, such as pong or space_invaders"
    raise DistillError(f"game {game!r} is unknown; {meant}")


def check_game(game: str) -> None:
    """Raise a `ValueError` unless a game is named by the ALE's name."""
    if game not in games():
        raise DistillError(f"game {game!r} is unknown; did you mean {game_name(game)}?")


@functools.cache
def num_actions(game: str) -> int:
    """Count a game's legal actions, its minimal set.

    Raises:
        ValueError: for an unknown game.
    """
    return len(legal_actions(game))


@functools.cache
def legal_actions(game: str) -> tuple[int, ...]:
    """Number a game's legal actions among the 18 that a console has, in the order in which networks number them.

    Raises:
        ValueError: for an unknown game.
    """
    return Cartridge(game).legal_actions


def keys_of_actions(game: str) -> dict[tuple[str, ...], int]:
    """Return the keys that, pressed together, mean each of the 18 actions, by gymnasium's convention."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    return ale_py.AtariEnv(game, full_action_space=True).get_keys_to_action()


def _rom(game: str) -> Path:
    path = roms.get_rom_path(game)
    assert path is not None, "a game that there is has a cartridge"
    return path


@functools.cache
def rom_md5(game: str) -> str:
    """Return the MD5 of a game's cartridge."""
    check_game(game)
    return hashlib.md5(_rom(game).read_bytes()).hexdigest()


class Cartridge:
    """One emulator, frame by frame: all 18 actions, nothing skipped, nothing repeated.

    Args:
        game: ALE name.
        seed: Of the emulator, from 0 to `MAX_SEED - 1`; with nothing random left it changes nothing.
        color_averaging: Whether `picture` blends two frames, as some old recordings do.
    """

    def __init__(self, game: str, seed: int = 0, *, color_averaging: bool = False) -> None:
        check_game(game)
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self.game = game
        self._ale = ale_py.ALEInterface()
        self._ale.setInt("random_seed", seed)
        self._ale.setFloat("repeat_action_probability", 0.0)
        self._ale.setBool("color_averaging", color_averaging)
        self.restart()

    def restart(self) -> None:
        """Load the game afresh: what was played before leaves nothing behind."""
        self._ale.loadROM(_rom(self.game))
        self._ale.reset_game()  # as the vector environment does; without it Freeway and Frostbite go otherwise

    def act(self, action: int) -> int:
        """Play one frame, 1/60 of a second, with an action from 0 to 17; return the reward."""
        return self._ale.act(action)

    @property
    def legal_actions(self) -> tuple[int, ...]:
        """Return the game's minimal set of actions."""
        return tuple(action.value for action in self._ale.getMinimalActionSet())

    @property
    def over(self) -> bool:
        """Return whether the episode has ended."""
        return self._ale.game_over()

    @property
    def lives(self) -> int:
        """Return how many lives are left."""
        return self._ale.lives()

    @property
    def screen(self) -> UInt8[np.ndarray, "210 160"]:
        """Return the screen in grey."""
        return self._ale.getScreenGrayscale()

    @property
    def picture(self) -> UInt8[np.ndarray, "210 160 3"]:
        """Return the screen in red, green and blue."""
        return self._ale.getScreenRGB()
