"""What other libraries' wrappers show of a screen, beside what is shown here, and what that does to a network."""

from collections import deque
from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import UInt8

from distill import protocol
from distill.atari.cartridge import Cartridge
from distill.atari.emulators import shrink
from distill.atari.rules import EnvRules, LifeRules
from distill.protocol import EPSILON
from distill.randomness import generator
from distill.rollout import Policy

SEEN_BOTH_WAYS = 1_000
ColorScreen = UInt8[np.ndarray, "210 160 3"]
View = Callable[[ColorScreen, ColorScreen], UInt8[np.ndarray, "84 84"]]
"""The last two pictures of a step to what a network sees of them."""
Stack = deque[UInt8[np.ndarray, "84 84"]]

_LUMA = np.array([0.2125, 0.7154, 0.0721])
"""By which gymnasium weighs red, green and blue."""


def _grey_then_small(before: ColorScreen, last: ColorScreen) -> UInt8[np.ndarray, "84 84"]:
    return shrink(cv2.cvtColor(np.maximum(before, last), cv2.COLOR_RGB2GRAY))


def _small_then_grey(before: ColorScreen, last: ColorScreen) -> UInt8[np.ndarray, "84 84"]:
    small = cv2.resize(np.maximum(before, last), (protocol.FRAME_SIZE,) * 2, interpolation=cv2.INTER_AREA)
    return (small * _LUMA).sum(axis=-1).astype(np.uint8)


def _small_then_maximum(before: ColorScreen, last: ColorScreen) -> UInt8[np.ndarray, "84 84"]:
    return np.maximum(*(shrink(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY)) for one in (before, last)))


VIEWS: dict[str, View] = {
    "Stable-Baselines3": _grey_then_small,
    "CleanRL": _small_then_grey,
    "atari-agents": _small_then_maximum,
}
"""By library."""


def equal_actions(policy: Policy, game: str, env: EnvRules, view: View, count: int = SEEN_BOTH_WAYS) -> float:
    """Return the share of observations for which a network chooses the same action whichever way it sees them.

    It plays by what is shown here, at epsilon 0.05, and is asked about the same screens as the other library shows it.

    Args:
        policy: The network.
        game: ALE name.
        env: By which rules it plays.
        view: The other library's.
        count: Observations, 1 or more.
    """
    cartridge, console, rng = Cartridge(game), env.actions(game), generator(0, "pictures", game)
    lives = LifeRules(env, game, 1)
    ours, theirs = Stack(maxlen=protocol.STACKED_FRAMES), Stack(maxlen=protocol.STACKED_FRAMES)
    equal = 0
    begins = True
    for _ in range(count):
        if begins:
            cartridge.restart()
            lives.begin(None)
            for stack in (ours, theirs):
                stack.extend(np.zeros((protocol.STACKED_FRAMES, *[protocol.FRAME_SIZE] * 2), np.uint8))
            screens, pictures = [cartridge.screen] * 2, [cartridge.picture] * 2
        ours.append(shrink(np.maximum(*screens)))
        theirs.append(view(*pictures))
        mine, other = policy(np.stack([np.stack(ours), np.stack(theirs)])).argmax(axis=1).tolist()
        equal += mine == other
        wanted = int(rng.integers(len(console))) if rng.random() < EPSILON else mine
        (action,) = lives.taken(np.array([wanted])).tolist()
        for _ in range(env.frame_skip):
            cartridge.act(console[action])
            screens, pictures = [screens[-1], cartridge.screen], [pictures[-1], cartridge.picture]
        lives.seen(np.zeros((1, 4, 84, 84), np.uint8), np.array([cartridge.lives]))
        begins = cartridge.over
    return equal / count
