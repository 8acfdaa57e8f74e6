"""The recordings of openai/atari-demo: one episode each, in a pickle of which nothing but plain values is read.

Such a file holds a dictionary. Its `actions` number the game's legal actions, the minimal set in the ALE's order, one
for each frame. Its `rewards` are as many, or one more, where the first belongs to the reset. What else it holds is left
out, such as states of the emulator of its day.
"""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

from distill.atari.cartridge import game_name, legal_actions
from distill.errors import DistillError
from distill.tools.play_log import LogRow

DEMO_SUFFIX = ".demo"
PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
"""What has the unpickler remember a value under a number, and makes room for all numbers below it."""
LARGEST = 2**31 - 1
"""Number of a recording: the emulator's own have 32 bits."""
LONGEST_NAME = 60
"""Characters of a name from a file in a message."""


class Omitted:
    """Stands where a file has an array or a number of NumPy, which is not made.

    Args:
        parts: What it would be made of.
    """

    def __init__(self, *parts: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        """Leave out the content."""


class PlainUnpickler(pickle.Unpickler):
    """Makes plain values, and none of what a file asks for by name."""

    def find_class(self, module_name: str, global_name: str) -> type[Omitted]:
        """Stand in for what is NumPy's.

        Raises:
            ValueError: for everything else.
        """
        if module_name.partition(".")[0] == "numpy":
            return Omitted
        asked = f"{module_name}.{global_name}"[:LONGEST_NAME]
        raise DistillError(f"it asks for {asked!r}; nothing but plain values is read")


def read_demo(path: Path, game: str | None = None) -> tuple[dict[str, Any], list[LogRow]]:
    """Read a recording of openai/atari-demo.

    Args:
        path: The file.
        game: ALE name; None takes the game of the file's name, such as `Pong.demo`.

    Returns:
        The game, as the first line of our own recordings says it, and the frames.

    Raises:
        ValueError: for a file that is missing, damaged, of another kind or of another game, or would run code; and
            where neither argument nor name says the game.
    """
    content = _plain_values(path)
    if not isinstance(content, dict) or not {"actions", "rewards"} <= content.keys():
        raise DistillError(f"{path} is no recording; it must hold a dictionary with actions and rewards")
    actions, rewards = (_whole_numbers(path, name, content[name]) for name in ("actions", "rewards"))
    if len(rewards) not in (len(actions), len(actions) + 1):
        raise DistillError(
            f"{path} has {len(rewards):,} rewards for {len(actions):,} actions; there must be as many, or one more"
        )
    game = game or _game_named_by(path)
    legal = legal_actions(game)
    rows: list[LogRow] = []
    for frame, (action, reward) in enumerate(zip(actions, rewards[-len(actions) :], strict=True)):
        if not 0 <= action < len(legal):
            raise DistillError(
                f"{path}, frame {frame}: action {action}; those of {game} must be between 0 and {len(legal) - 1}"
            )
        rows.append(LogRow(str(frame), "0", reward, legal[action], ""))
    return {"game": game}, rows


def _plain_values(path: Path) -> Any:
    try:
        content = path.read_bytes()
        _check_numbers(content)
        return PlainUnpickler(io.BytesIO(content)).load()
    except OSError as error:
        raise DistillError(f"{path} is no recording ({error.strerror})") from error
    except DistillError as error:
        raise DistillError(f"{path} is no recording that is opened ({error})") from error
    except Exception as error:  # a damaged pickle raises whatever
        raise DistillError(f"{path} is no recording (no pickle, or damaged or cut short)") from error


def _check_numbers(content: bytes) -> None:
    """Refuse a damaged pickle that would have the unpickler fill the memory."""
    for opcode, number, _ in pickletools.genops(content):
        if opcode.name in PUTS and isinstance(number, int) and number > len(content):
            raise ValueError


def _whole_numbers(path: Path, name: str, values: Any) -> list[int]:
    if not isinstance(values, list) or not values:
        raise DistillError(f"{path} has {name} that are no list, or an empty one; they must be a list of whole numbers")
    for place, value in enumerate(values):
        whole = type(value) is int or (name == "rewards" and type(value) is float and value.is_integer())
        if not whole or abs(value) > LARGEST:
            raise DistillError(
                f"{path}: {name}[{place}] is {_kind_of(value)}; it must be a whole number of at most {LARGEST:,}"
            )
    return [int(value) for value in values]


def _kind_of(value: Any) -> str:
    if isinstance(value, Omitted):
        return "one of NumPy's"
    if type(value) is int:
        return "larger" if value > 0 else "smaller"
    return str(value) if isinstance(value, float) else f"a {type(value).__name__}"


def _game_named_by(path: Path) -> str:
    try:
        return game_name(path.stem)
    except DistillError as error:
        raise DistillError(f"{path} does not say its game, nor does its name; give --game") from error
