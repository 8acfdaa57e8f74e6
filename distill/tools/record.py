"""A window in which a person plays, and a file in which every frame of it is kept."""

import warnings
from pathlib import Path
from typing import Any

import gymnasium

from distill import checks, protocol
from distill.atari.cartridge import Cartridge, keys_of_actions
from distill.errors import DistillError
from distill.tools.play_log import LogWriter

NOOP = 0
WINDOWLESS = ("dummy", "offscreen")
"""What SDL falls back to where there is no display."""


class Console(gymnasium.Env[Any, Any]):
    """What gymnasium's window wants to know of an environment."""

    render_mode = "rgb_array"

    def __init__(self, cartridge: Cartridge) -> None:
        self.cartridge = cartridge

    def render(self) -> Any:
        """Return the picture."""
        return self.cartridge.picture


def record(game: str, out: str, player: str = "anonymous", licence: str = "CC0-1.0", zoom: float = 3.0) -> None:
    """Play a game in a window and keep every frame.

    W A S D steer, space fires, P pauses, Escape or closing the window quits. An episode begins with the first key. What
    was played is in the file, whatever happens; `import-starts` makes starts of it.

    Args:
        game: ALE name.
        out: The recording, a new text file.
        player: Who plays, as it will stand in the file.
        licence: Under which others may use the recording.
        zoom: Size of the window, above 0; 1 is 160 x 210.
    """
    checks.above_zero(zoom=zoom)
    cartridge = Cartridge(game)
    try:
        import pygame

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it plots with matplotlib, of which there is no need here
            from gymnasium.utils.play import PlayableGame, display_arr
    except ImportError as error:
        raise DistillError('record needs a window; pip install "distill[record]" installs what it takes') from error
    if Path(out).exists():
        raise DistillError(f"{out} exists; give a new file")
    checks.output("out", out)
    try:
        pygame.display.init()  # the window alone: no sound is wanted
        if pygame.display.get_driver() in WINDOWLESS:
            raise DistillError("record needs a display; there is none")
        actions = {
            tuple(sorted(pygame.key.key_code("space" if key == " " else key) for key in keys)): action
            for keys, action in keys_of_actions(game).items()
        }
        window = PlayableGame(Console(cartridge), actions, zoom)
        log = LogWriter(Path(out), game, player=player, licence=licence)
    except (pygame.error, OSError) as error:
        raise DistillError(f"record cannot open its window or its file: {error}") from error
    clock = pygame.time.Clock()
    waiting, episode, score = True, 0, 0
    try:
        while window.running:
            for event in pygame.event.get():
                window.process_event(event)
                if event.type == pygame.KEYDOWN:
                    waiting = event.key == pygame.K_p and not waiting
            if not waiting and window.running:
                action = actions.get(tuple(sorted(window.pressed_keys)), NOOP)
                screen = cartridge.screen
                reward = cartridge.act(action)
                log.add(screen, action, reward)
                score += reward
                if cartridge.over:
                    print(f"episode {episode}: {score}")
                    log.end_episode()
                    cartridge.restart()
                    waiting, episode, score = True, episode + 1, 0
            state = "press a key to play" if waiting else f"score {score}"
            pygame.display.set_caption(f"{game}, episode {episode}: {state}")
            display_arr(window.screen, cartridge.picture, window.video_size, transpose=True)
            pygame.display.flip()
            clock.tick(protocol.FRAMES_PER_SECOND)
    finally:
        log.close()
        pygame.quit()
    print(f"{log.frames:,} frames in {out}")
