"""What other libraries' wrappers show of a screen, beside what is shown here, and what that does to a network."""

import itertools
from collections import deque
from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import UInt8

from distill.atari.emulators import shrink
from distill.atari.rules import EnvRules
from distill.evaluation import EvalConfig
from distill.film import Actor, shots_of
from distill.protocol import FRAME_SIZE, STACKED_FRAMES
from distill.rollout import Policy

SEEN_BOTH_WAYS = 1_000
ColorScreen = UInt8[np.ndarray, "210 160 3"]
View = Callable[[ColorScreen, ColorScreen], UInt8[np.ndarray, "84 84"]]
"""The last two pictures of a step to what a network sees of them."""

_LUMA = np.array([0.2125, 0.7154, 0.0721])
"""By which gymnasium weighs red, green and blue."""


def _grey_then_small(before: ColorScreen, last: ColorScreen) -> UInt8[np.ndarray, "84 84"]:
    return shrink(cv2.cvtColor(np.maximum(before, last), cv2.COLOR_RGB2GRAY))


def _small_then_grey(before: ColorScreen, last: ColorScreen) -> UInt8[np.ndarray, "84 84"]:
    small = cv2.resize(np.maximum(before, last), (FRAME_SIZE,) * 2, interpolation=cv2.INTER_AREA)
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

    It plays by what is shown here, at epsilon 0.05, and is asked about the same screens as the other library shows it;
    not about the first three of an episode, whose stacks are not full.

    Args:
        policy: The network.
        game: ALE name.
        env: By which rules it plays; for the picture alone, nothing is sticky and lost lives leave the stack as it is.
        view: The other library's.
        count: Observations, 1 or more.
    """
    env = env._replace(sticky=0.0, life_loss=False)
    asked = equal = 0
    for number in itertools.count():
        one = EvalConfig(game, (number,), 0, max_frames=env.frame_skip * (count + STACKED_FRAMES), env=env)
        stack: deque[np.ndarray] = deque(maxlen=STACKED_FRAMES)
        for shot in shots_of(Actor("", policy, temperature=1.0), one):
            if len(stack) == STACKED_FRAMES:
                asked += 1
                equal += int(policy(np.stack(stack)[None]).argmax()) == int(shot.probabilities.argmax())
                if asked == count:
                    return equal / count
            before, last = (shot.frames[-2:] * 2)[-2:]  # a step may have but one
            stack.append(view(before, last))
    raise AssertionError("there is always another episode")
