"""Games that begin at a start are what the native environment would have been there, to the bit."""

import multiprocessing

import numpy as np
import pytest

from distill.atari.cartridge import Cartridge, legal_actions
from distill.atari.environments import Atari
from distill.atari.replayed import ReplayedAtari
from distill.atari.starts import Start, Starts, screen_hash

STEPS = 60
AT = (12, 5, 37)
"""The step at which each environment is handed over."""


def start_after(game: str, actions: np.ndarray) -> Start:
    cartridge = Cartridge(game)
    for action in actions.tolist():
        cartridge.act(action)
    return Start(actions.astype(np.uint8), screen_hash(cartridge.screen))


def made_of(game: str, *starts: Start) -> Starts:
    return Starts(game, player="chance", human=False, licence="none", starts=starts)


def step(games: ReplayedAtari, actions: np.ndarray) -> tuple[np.ndarray, ...]:
    games.send(actions)
    return games.recv()


@pytest.mark.parametrize("game", ["qbert", "freeway", "seaquest"])
def test_play_goes_on_as_in_the_native_environment(game):
    """Handed over in the midst of native play, observations, rewards, ends and lives are those of the native play."""
    games = Atari(game, len(AT))
    random = np.random.default_rng(0).integers(games.num_actions, size=(STEPS, len(AT)))
    games.restart(np.arange(len(AT)))
    native = [games.step(actions) for actions in random]
    legal = np.array(legal_actions(game))
    logs = [np.concatenate([games.lead_in(env), legal[random[: AT[env], env]].repeat(4)]) for env in range(len(AT))]
    handed = ReplayedAtari(made_of(game, *(start_after(game, log) for log in logs)), range(len(AT)))
    observations, lives = handed.rebuild(np.zeros(len(AT), np.int64), [np.zeros(0, np.int64)] * len(AT))
    for env, at in enumerate(AT):
        assert (observations[env] == native[at - 1][0][env]).all()
        assert lives[env] == native[at - 1][3][env]
    for time in range(STEPS - max(AT)):
        found = step(handed, np.array([random[at + time, env] for env, at in enumerate(AT)]))
        for env, at in enumerate(AT):
            for one, other in zip(found, native[at + time], strict=True):
                assert (one[env] == other[env]).all()
    games.close()
    handed.close()


def test_a_start_may_be_anywhere():
    """In the midst of a step the newest frame is the maximum of the last two, the next that of four frames earlier."""
    actions = np.random.default_rng(1).integers(18, size=31)
    handed = ReplayedAtari(made_of("breakout", start_after("breakout", actions)), [0])
    (observation,), _ = handed.rebuild(np.zeros(1, np.int64), [np.zeros(0, np.int64)])
    cartridge, screens = Cartridge("breakout"), []
    for action in actions.tolist():
        cartridge.act(action)
        screens.append(cartridge.screen)
    from distill.atari.emulators import shrink

    for place, frame in enumerate((19, 23, 27, 31)):
        assert (observation[place] == shrink(np.maximum(screens[frame - 1], screens[frame - 2]))).all()
    handed.close()


def test_early_starts_see_nothing_before_the_game():
    """What would lie before a game's first screen is black."""
    handed = ReplayedAtari(made_of("pong", start_after("pong", np.zeros(5, np.int64))), [0])
    (observation,), _ = handed.rebuild(np.zeros(1, np.int64), [np.zeros(0, np.int64)])
    assert [bool(frame.any()) for frame in observation] == [False, False, True, True]
    handed.close()


def test_frames_before_the_start_count():
    """The longest episode includes what was played before the start; a start behind it is refused, by its number."""
    start = start_after("pong", np.zeros(30, np.int64))
    starts = made_of("pong", start_after("pong", np.zeros(2, np.int64)), start)
    handed = ReplayedAtari(starts, [0, 1], max_frames=50)
    handed.rebuild(np.zeros(2, np.int64), [np.zeros(0, np.int64)] * 2)
    ended = np.array([step(handed, np.zeros(2, np.int64))[2] for _ in range(12)])
    assert ended.argmax(axis=0).tolist() == [11, 4]
    handed.close()
    with pytest.raises(ValueError, match="start 1 of pong is 30 frames into its episode; max_frames is 30"):
        ReplayedAtari(starts, [0, 1], max_frames=30)


def test_another_screen_is_refused():
    """A start whose screen is not the recorded one is named."""
    start = start_after("pong", np.zeros(9, np.int64))
    handed = ReplayedAtari(made_of("pong", start, start._replace(screen="0" * 64)), [0, 1])
    with pytest.raises(ValueError, match="start 1 of pong shows another screen"):
        handed.rebuild(np.zeros(2, np.int64), [np.zeros(0, np.int64)] * 2)
    handed.close()


def test_a_start_behind_the_end_is_refused():
    """An episode that ends before its start is named."""
    actions = np.full(4000, 1)  # FIRE: in Breakout five balls fall one after the other
    cartridge, frames = Cartridge("breakout"), 0
    while not cartridge.over:
        cartridge.act(1)
        frames += 1
    behind = Start(actions[: frames + 20].astype(np.uint8), "0" * 64)
    handed = ReplayedAtari(made_of("breakout", start_after("breakout", actions[:9]), behind), [0, 1])
    with pytest.raises(ValueError, match="start 1 of breakout lies behind the end"):
        handed.rebuild(np.zeros(2, np.int64), [np.zeros(0, np.int64)] * 2)
    handed.close()


def test_an_action_that_the_game_does_not_have_is_refused():
    """The native environment would hang."""
    handed = ReplayedAtari(made_of("pong", start_after("pong", np.zeros(9, np.int64))), [0])
    handed.rebuild(np.zeros(1, np.int64), [np.zeros(0, np.int64)])
    with pytest.raises(ValueError, match="pong has actions 0 to 5"):
        step(handed, np.array([6]))
    handed.close()


def test_a_dead_process_is_noticed():
    """Where the system kills an emulator's process, play ends with one line instead of waiting for it."""
    start = start_after("pong", np.zeros(9, np.int64))
    handed = ReplayedAtari(made_of("pong", start), [0])
    handed.rebuild(np.zeros(1, np.int64), [np.zeros(0, np.int64)])
    for process in handed._processes:
        process._process.kill()
        process._process.join()
    with pytest.raises(ValueError, match="a process that emulates games has died"):
        step(handed, np.array([0]))
    handed.close()


def test_closing_leaves_no_process():
    """After `close`, and after a refusal, no process of an emulator is left."""
    start = start_after("pong", np.zeros(9, np.int64))
    handed = ReplayedAtari(made_of("pong", start, start), [0, 1])
    handed.rebuild(np.zeros(2, np.int64), [np.zeros(0, np.int64)] * 2)
    assert multiprocessing.active_children()
    handed.close()
    assert not multiprocessing.active_children()
