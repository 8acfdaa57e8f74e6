"""An episode as a video."""

import os
from contextlib import closing
from pathlib import Path

from distill.atari import Cartridge, legal_actions
from distill.evaluation import Episodes, games_for, steps_of
from distill.protocol import FRAMES_PER_STEP
from distill.rollout import Policy

FRAMES_PER_SECOND = 60
ZOOM = 3


def film(policy: Policy, episodes: Episodes, path: Path) -> None:
    """Write the first of some episodes as H.264 of 480 x 630 pixels, from where the policy begins to act.

    Args:
        policy: Who plays.
        episodes: The first of them is played again; nothing in it is random but what its number says.
        path: The file, `.mp4`; its folder is made where it is missing.

    Raises:
        ValueError: with sticky actions, which are not seen from outside, for another kind of file, and where the
            packages that write videos are missing.
    """
    check(episodes, path)
    import imageio.v2 as imageio

    one = episodes._replace(numbers=episodes.numbers[:1])
    with closing(games_for(one)) as games:
        actions = [int(step.actions[0]) for step in steps_of(policy, one, games)]
        cartridge = Cartridge(one.game)
        for action in games.lead_in(0).tolist():
            cartridge.act(action)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    with imageio.get_writer(unfinished, format="ffmpeg", fps=FRAMES_PER_SECOND, macro_block_size=2) as video:
        for action in actions:
            for _ in range(FRAMES_PER_STEP):
                if not cartridge.over:
                    cartridge.act(legal_actions(one.game)[action])
                    video.append_data(cartridge.picture.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1))
    os.replace(unfinished, path)


def check(episodes: Episodes, path: Path) -> None:
    """Refuse what `film` would refuse, before anything is played."""
    if path.suffix != ".mp4":
        raise ValueError(f"video {path} must end in .mp4")
    if episodes.sticky:
        raise ValueError(f"sticky is {episodes.sticky}; a video needs 0, for it is made by playing again")
    try:
        import imageio_ffmpeg  # noqa: F401
    except ImportError as error:
        raise ValueError('a video needs imageio; pip install -e ".[video]" installs it') from error
