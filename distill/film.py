"""An episode as a video; two players' side by side, with what each thinks of its actions."""

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8

from distill.atari.cartridge import Cartridge
from distill.errors import DistillError
from distill.evaluation import EvalConfig, games_for, steps_of
from distill.protocol import FRAMES_PER_SECOND, TEMPERATURE
from distill.rollout import Policy

ZOOM = 3
WIDTH = 160 * ZOOM
HEAD = 56
"""Pixels above the picture, for name and score."""
ROW = 24
"""Pixels of an action's bar."""
ROWS = 9
"""Of bars in a column; more actions than that stand in two."""
MARGIN = 12
GIF_COLORS = 64
PANE_GAP = 8
"""Pixels between two panes."""
BACK, INK, SOFT, BAR, TAKEN = (24, 27, 32), (235, 238, 242), (140, 148, 160), (86, 180, 233), (240, 136, 62)
"""Red, green and blue."""

Picture = UInt8[np.ndarray, "_ _ 3"]


class Actor(NamedTuple):
    """Who plays in a film."""

    name: str
    policy: Policy
    temperature: float
    """Divides its outputs, of which the softmax is shown: 1 for logits, the paper's 0.01 for a DQN's values."""


def temperature_of(kind: str) -> float:
    """Return the temperature that turns outputs into the probabilities that are shown.

    Args:
        kind: Of the outputs, one of `distill.losses.KINDS`.
    """
    return 1.0 if kind == "policy" else TEMPERATURE


class Shot(NamedTuple):
    """A step of an episode as it is shown."""

    frames: list[Picture]
    """One for each emulator frame."""
    probabilities: Float[np.ndarray, " A"]
    action: int
    score: float
    """After the step."""


def film(actors: Sequence[Actor], episodes: EvalConfig, path: Path) -> None:
    """Write the first of some episodes as a video, from where the policies begin to act.

    Each actor plays it for itself, side by side; the one whose episode ends first stays at its last frame, darkened.
    Under the frames are the probabilities of the actions, the one that was taken in another colour.

    Args:
        actors: One, or two.
        episodes: The first of them is played again; nothing in it is random but what its number says.
        path: The file, `.mp4` (H.264) or `.gif` (half the size, a picture a step); its folder is made where it is
            missing.

    Raises:
        ValueError: with sticky actions, which are not seen from outside, and for another kind of file.
    """
    check_film(episodes, path)
    one = episodes._replace(numbers=episodes.numbers[:1])
    names = one.env.action_names(one.game)
    panes = [pane_of(actor, shots_of(actor, one), names) for actor in actors]
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    if path.suffix == ".gif":
        every = one.env.frame_skip
        write_gif(itertools.islice(side_by_side(panes), 0, None, every), unfinished, every / FRAMES_PER_SECOND)
    else:
        write_video(side_by_side(panes), unfinished)
    os.replace(unfinished, path)


def write_video(pictures: Iterator[Picture], path: Path) -> None:
    """Write pictures, one or more of one size, even in height and width, as H.264."""
    import av

    first = next(pictures)
    with av.open(str(path), "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=FRAMES_PER_SECOND)
        stream.height, stream.width, _ = first.shape
        stream.pix_fmt = "yuv420p"
        for picture in itertools.chain([first], pictures):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(stream.encode())


def write_gif(pictures: Iterator[Picture], path: Path, seconds: float) -> None:
    """Write pictures of one size as an animation of half the size that begins again at its end.

    Args:
        pictures: One for each step.
        path: The file.
        seconds: For which each is shown.
    """
    from PIL import Image

    images = [Image.fromarray(picture).reduce(2) for picture in pictures]
    colors = images[len(images) // 2].quantize(GIF_COLORS)
    frames = [image.quantize(palette=colors, dither=Image.Dither.NONE) for image in images]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:], duration=10 * round(100 * seconds), loop=0)


def shots_of(actor: Actor, one: EvalConfig) -> Iterator[Shot]:
    """Play an episode, then show it step by step.

    Args:
        actor: Who plays.
        one: Episodes, of which there is but one.
    """
    with closing(games_for(one)) as games:
        steps = [(int(step.actions[0]), step.values[0]) for step in steps_of(actor.policy, one, games)]
        cartridge, console = Cartridge(one.game), one.env.actions(one.game)
        for action in games.lead_in(0).tolist():
            cartridge.act(action)
    score = 0.0
    for action, values in steps:
        frames = []
        for _ in range(one.env.frame_skip):
            if not cartridge.over:
                score += cartridge.act(console[action])
                frames.append(cartridge.picture)
        yield Shot(frames, softmax(values / actor.temperature), action, score)


def softmax(values: Float32[np.ndarray, " A"]) -> Float[np.ndarray, " A"]:
    """Turn logits into probabilities."""
    powers = np.exp(values.astype(np.float64) - values.max())
    return powers / powers.sum()


def pane_of(actor: Actor, shots: Iterator[Shot], names: Sequence[str]) -> Iterator[Picture]:
    """Draw an actor's episode, a picture for each emulator frame."""
    shown = "outputs" if actor.temperature == 1 else f"values / {actor.temperature:g}"
    for shot in shots:
        head = _text(_empty(HEAD), MARGIN, 24, actor.name, 0.7, INK)
        _text(head, MARGIN, 46, f"softmax of {shown}", 0.45, SOFT)
        _right(head, 32, f"{shot.score:g}", 0.9, INK)
        bars = bars_of(shot.probabilities, shot.action, names)
        for frame in shot.frames:
            yield np.vstack([head, frame.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1), bars])


def side_by_side(panes: Sequence[Iterator[Picture]]) -> Iterator[Picture]:
    """Put panes together for as long as one of them goes on; one that has ended stays as it was, darkened."""
    shown: dict[int, Picture] = {}
    ended: set[int] = set()
    for pictures in itertools.zip_longest(*panes):
        for number, picture in enumerate(pictures):
            if picture is not None:
                shown[number] = picture
            elif number not in ended:
                ended.add(number)
                shown[number] = _darkened(shown[number])
        gap = np.full((len(shown[0]), PANE_GAP, 3), BACK, np.uint8)
        yield np.hstack([part for number in range(len(panes)) for part in (gap, shown[number])][1:])


def bars_of(probabilities: Float[np.ndarray, " A"], taken: int, names: Sequence[str]) -> Picture:
    """Draw a bar for each action, from none to certain.

    Args:
        probabilities: Of the actions.
        taken: The action that was taken.
        names: Of the actions.
    """
    import cv2

    rows, columns = min(len(names), ROWS), -(-len(names) // ROWS)
    picture = _empty(rows * ROW + 2 * MARGIN)
    width = (WIDTH - MARGIN) // columns - MARGIN
    label = 118
    for number, (name, share) in enumerate(zip(names, probabilities.tolist(), strict=True)):
        column, row = divmod(number, ROWS)
        left, top = MARGIN + column * (width + MARGIN), MARGIN + row * ROW
        right = left + label + round((width - label - 44) * share)
        color = TAKEN if number == taken else BAR
        cv2.rectangle(picture, (left + label, top + 5), (right, top + ROW - 6), color, -1)
        _text(picture, left, top + 17, name, 0.42, INK if number == taken else SOFT)
        _text(picture, right + 6, top + 17, f"{share:.0%}", 0.42, INK if share >= 0.005 else SOFT)
    return picture


def _darkened(pane: Picture) -> Picture:
    return _right(pane // 2, HEAD - 8, "ended", 0.5, INK)


def _empty(height: int) -> Picture:
    return np.full((height, WIDTH, 3), BACK, np.uint8)


def _text(picture: Picture, left: int, base: int, what: str, scale: float, color: tuple[int, int, int]) -> Picture:
    import cv2

    return cv2.putText(picture, what, (left, base), cv2.FONT_HERSHEY_SIMPLEX, scale, color, 1, cv2.LINE_AA)


def _right(picture: Picture, base: int, what: str, scale: float, color: tuple[int, int, int]) -> Picture:
    import cv2

    (width, _), _ = cv2.getTextSize(what, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    return _text(picture, WIDTH - MARGIN - width, base, what, scale, color)


def check_film(episodes: EvalConfig, path: Path) -> None:
    """Refuse what `film` would refuse, before anything is played."""
    if path.suffix not in (".mp4", ".gif"):
        raise DistillError(f"video {path} must end in .mp4 or .gif")
    if episodes.env.sticky:
        raise DistillError(f"sticky is {episodes.env.sticky}; a video needs 0, for it is made by playing again")
