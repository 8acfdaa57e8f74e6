"""Where an episode may begin: starts that a player reached, each kept as the actions that lead there.

A start is (game, cartridge, emulator seed, one action for each frame since a freshly loaded game, a hash of the screen
there). No emulator state is kept: it does not survive a change of the emulator, and that of Q*bert not even a restore.
Starts of human players are what the paper evaluates from (section 4 of Rusu et al. 2016, after Nair et al. 2015): 100
positions a game, from the first 20% of an episode. DeepMind's own were never published.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from distill import checks
from distill.atari.cartridge import ALL_ACTIONS, Cartridge, rom_md5
from distill.atari.emulators import Start, screen_hash
from distill.atari.environments import MAX_SEED
from distill.atari.replayed import ReplayedAtari
from distill.atari.rules import PAPER_RULES, EnvRules
from distill.errors import DistillError
from distill.files.packing import pack, unpack
from distill.files.store import seal, unseal, write_atomically
from distill.randomness import generator

COUNT = 100
"""Positions of a game, in the paper."""
FIRST_SHARE = 0.2
"""Of an episode, from which they are drawn."""


class Episode(NamedTuple):
    """A player's episode, from a freshly loaded game."""

    actions: UInt8[np.ndarray, " F"]
    """One for each frame that can be vouched for."""
    frames: int
    """Of the whole episode, F or more."""


@dataclass(frozen=True)
class Starts:
    """Starts of one game.

    Args:
        game: ALE name.
        player: Who played up to there.
        human: Whether that was a person.
        licence: Under which the recording may be used.
        starts: The positions, 1 or more.
        seed: Of the emulator.
        rom_md5: The cartridge's; that of the installed one by default.
        ale_py: The emulator's version; the installed one's by default.
    """

    game: str
    player: str
    human: bool
    licence: str
    starts: tuple[Start, ...]
    seed: int = 0
    rom_md5: str = ""
    ale_py: str = ""

    def __post_init__(self) -> None:
        cartridge = rom_md5(self.game)
        if self.rom_md5 not in ("", cartridge):
            raise DistillError(
                f"these starts of {self.game} need the cartridge with md5 {self.rom_md5}; installed is {cartridge}"
            )
        if not self.starts:
            raise DistillError(f"there are no starts of {self.game}; there must be one or more")
        for number, start in enumerate(self.starts):
            if len(start.actions) == 0 or start.actions.max() >= ALL_ACTIONS:
                raise DistillError(
                    f"start {number} of {self.game} has actions {sorted(set(start.actions.tolist()))}; there must be "
                    f"one or more, from 0 to {ALL_ACTIONS - 1}"
                )
        object.__setattr__(self, "rom_md5", cartridge)
        object.__setattr__(self, "ale_py", self.ale_py or version("ale-py"))

    def check_game(self, *games: str) -> None:
        """Refuse them where starts of another game are needed, or of one of several others."""
        if self.game not in games:
            raise DistillError(f"the starts are of {self.game}; starts of {' or '.join(games)} are needed")

    @property
    def described(self) -> str:
        """Describe whose starts these are."""
        return f"{len(self.starts)} starts played by {self.player}" + ("" if self.human else ", not human")

    def environments(self, numbers: Sequence[int], max_frames: int, env: EnvRules = PAPER_RULES) -> ReplayedAtari:
        """Make an environment for each of these starts, which are counted round and round."""
        return ReplayedAtari(self, [number % len(self.starts) for number in numbers], env=env, max_frames=max_frames)

    def to_bytes(self) -> bytes:
        """Return the starts as bytes of a file."""
        actions = [start.actions for start in self.starts]
        arrays = {"actions": np.concatenate(actions), "frames": np.array([len(one) for one in actions])}
        names = ("game", "player", "human", "licence", "seed", "rom_md5", "ale_py")
        header = {name: getattr(self, name) for name in names}
        return pack(arrays, {**header, "screens": [start.screen for start in self.starts]})

    def save(self, path: Path) -> None:
        """Write the starts into a file, whole or not at all."""
        write_atomically(path, seal(self.to_bytes()))

    @classmethod
    def load(cls, path: str | Path, game: str | None = None) -> "Starts":
        """Read a file.

        Args:
            path: The file.
            game: The game that they must be of; None takes any.

        Raises:
            ValueError: for a file that is missing, cut, foreign, or of another game or cartridge.
        """
        try:
            arrays, header = unpack(unseal(Path(path).read_bytes()))
            screens = _checked_arrays(arrays, header)
            actions = np.split(arrays["actions"], np.cumsum(arrays["frames"])[:-1])
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise DistillError(
                f"{path} is no whole file of starts ({reason}); allowed are those that `import-starts` and "
                "`draw-starts` write"
            ) from error
        if game not in (None, header["game"]):
            raise DistillError(f"{path} holds starts of {header['game']}; starts of {game} are needed")
        return cls(**header, starts=tuple(itertools.starmap(Start, zip(actions, screens, strict=True))))


def _checked_arrays(arrays: dict[str, np.ndarray], header: dict[str, Any]) -> list[str]:
    """Refuse a file's content where its parts do not belong together; take its screens out of the header."""
    kinds = {"game": str, "player": str, "human": bool, "licence": str, "seed": int, "rom_md5": str, "ale_py": str}
    kinds |= {"screens": list}
    wrong = [name for name, kind in kinds.items() if type(header.get(name)) is not kind]
    if wrong or set(header) != set(kinds):
        raise DistillError(f"its header has {', '.join(sorted(header)) or 'nothing'}")
    checks.between(0, MAX_SEED - 1, seed=header["seed"])
    screens, actions, frames = header.pop("screens"), arrays.get("actions"), arrays.get("frames")
    fitting = (
        actions is not None
        and frames is not None
        and (actions.dtype, frames.dtype, frames.ndim) == (np.dtype(np.uint8), np.dtype(np.int64), 1)
        and len(frames) == len(screens)
        and all(isinstance(screen, str) for screen in screens)
        and (frames > 0).all()
        and actions.shape == (frames.sum(),)
    )
    if not fitting:
        raise DistillError("its actions and screens do not belong together")
    return screens


def sample_starts(game: str, episodes: Sequence[Episode], *, count: int = COUNT, seed: int = 0, **whose: Any) -> Starts:
    """Draw starts from the first fifth of each episode, each frame being as likely as any other, none twice.

    Args:
        game: ALE name.
        episodes: What was played, all from a freshly loaded game.
        count: How many, 1 or more.
        seed: Of the drawing, 0 or more.
        whose: Further fields of `Starts`.

    Raises:
        ValueError: where the episodes do not have so many frames, or one ends earlier than it should.
    """
    checks.at_least(1, count=count)
    checks.at_least(0, seed=seed)
    places = [
        (number, frame)
        for number, (actions, frames) in enumerate(episodes)
        for frame in range(1, min(len(actions), int(FIRST_SHARE * frames)) + 1)
    ]
    if len(places) < count:
        raise DistillError(
            f"count is {count}, but the first {FIRST_SHARE:.0%} of {len(episodes)} episodes of {game} are "
            f"{len(places)} frames; record more"
        )
    chosen = sorted(generator(seed, "starts", game).choice(len(places), size=count, replace=False).tolist())
    starts: list[Start] = []
    cartridge, played, at = Cartridge(game), 0, -1
    for number, frame in (places[place] for place in chosen):
        actions = episodes[number].actions
        if number != at:
            cartridge.restart()
            played, at = 0, number
        for action in actions[played:frame].tolist():
            cartridge.act(action)
        if cartridge.over:
            raise DistillError(f"episode {number} of {game} ends within its first {frame} frames")
        played = frame
        starts.append(Start(actions[:frame].astype(np.uint8), screen_hash(cartridge.screen)))
    return Starts(game, starts=tuple(starts), **whose)
