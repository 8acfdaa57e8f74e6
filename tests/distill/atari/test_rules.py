"""What an environment does for its player, whichever kind of environment it is."""

from contextlib import closing

import numpy as np
import pytest

from distill.atari.cartridge import Cartridge, legal_actions
from distill.atari.environments import Atari
from distill.atari.rules import PAPER_RULES, EnvRules
from distill.atari.starts import Episode, sample_starts
from distill.evaluation import EvalConfig, games_for, play_episodes, steps_of
from distill.randomness import generator
from distill.replay import Memory
from distill.rollout import collect, in_turn, play

FIRE = legal_actions("breakout").index(1)


def idle(observations: np.ndarray) -> np.ndarray:
    """Value NOOP most."""
    return np.eye(4, dtype=np.float32)[np.zeros(len(observations), int)]


def steps(env: EnvRules, max_frames: int = 2000) -> list:
    """Play an episode of Breakout in which nobody does anything."""
    config = EvalConfig("breakout", (0,), 0, epsilon=0.0, max_frames=max_frames, env=env)
    with closing(games_for(config)) as games:
        return list(steps_of(idle, config, games))


def test_fire_is_pressed_when_a_life_begins():
    """Who never presses FIRE waits for ever; with `fire_reset` it is pressed first and after each lost life."""
    assert not any(step.lost_life[0] or step.actions[0] for step in steps(PAPER_RULES))
    played = steps(EnvRules(fire_reset=True))
    begins = [True] + [bool(step.lost_life[0]) for step in played[:-1]]
    assert sum(begins) > 2
    assert [step.actions[0] == FIRE for step in played] == begins
    assert played[-1].ended[0]


def test_a_life_begins_with_an_empty_stack():
    """With `life_loss` the frames before a lost life are black, and the memory puts the same stacks together."""
    env = EnvRules(fire_reset=True, life_loss=True)
    played, whole = steps(env), steps(EnvRules(fire_reset=True))
    since = 4
    for step, other in zip(played, whole, strict=True):
        seen, known = step.observations[0], other.observations[0]
        black = max(0, 3 - since)
        assert not seen[:black].any()
        assert np.array_equal(seen[black:], known[black:])
        since = 0 if step.lost_life[0] else since + 1
    assert [step.lost_life[0] for step in played] == [step.lost_life[0] for step in whole]
    with closing(Atari("breakout", 2, env=env, max_frames=2000)) as games:
        observed: list[np.ndarray] = []

        def watching(observations: np.ndarray) -> np.ndarray:
            observed.append(observations.copy())
            return idle(observations)

        playing = play(watching, games, in_turn(lambda number: generator(0, "rules", number)), lambda: 0.0, packs=True)
        memory = Memory(400, 2, 4, life_loss=True)
        memory.extend(collect(playing, 150, games))
        memory.extend(collect(playing, 250, games))
        times, envs = (of.ravel() for of in np.mgrid[0:400, 0:2])
        assert np.array_equal(memory._observations(times, envs).numpy(), np.stack(observed)[times, envs])


@pytest.mark.parametrize("skip", [1, 2, 3, 4, 5])
def test_a_step_has_so_many_frames(skip):
    """Both kinds of environment show the same after steps of any number of frames, by all 18 actions."""
    env = EnvRules(frame_skip=skip, full_action_set=True, fire_reset=True, life_loss=True)
    log = np.array([0] * 40, np.uint8)
    starts = sample_starts("breakout", [Episode(log, 200)], count=1, player="nobody", human=False, licence="CC0-1.0")
    begin = starts.starts[0].actions
    cartridge = Cartridge("breakout")
    for _ in begin:
        cartridge.act(0)
    numbers = np.arange(80) % 18
    with closing(starts.environments([0], 4000, env)) as games:
        games.rebuild(np.zeros(1, np.int64), [np.zeros(0, np.int64)])
        replayed = [(games.send(np.array([number])), games.recv()) for number in numbers]
    rewards = [sum(cartridge.act(int(taken[0])) for _ in range(skip)) for taken, _ in replayed]
    assert [int(answer[1][0]) for _, answer in replayed] == rewards
    with closing(Atari("breakout", 1, env=env._replace(life_loss=False), max_frames=4000)) as games:
        seed = next(seed for seed in range(200) if _noops(games, seed) == len(begin))
        games.restart(np.array([seed]))
        for number, (taken, answer) in zip(numbers, replayed, strict=True):
            assert np.array_equal(games.send(np.array([number])), taken)
            observations, _, ended, _ = games.recv()
            assert not ended[0]  # then it shows an older screen
            assert np.array_equal(observations[0, -1], answer[0][0, -1])


def _noops(games: Atari, seed: int) -> int:
    games.restart(np.array([seed]))
    return len(games.lead_in(0))


def test_scores_count_whole_games():
    """A lost life ends neither an episode nor its score, whatever the stack shows."""
    rules = EvalConfig("breakout", (0, 1, 2), 0, max_frames=4000, env=EnvRules(fire_reset=True))
    whole = play_episodes(idle, rules)
    cut = play_episodes(idle, rules._replace(env=EnvRules(fire_reset=True, life_loss=True)))
    assert np.array_equal(whole.scores, cut.scores)
    assert whole.scores.sum() > 0


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"sticky": 2}, "sticky is 2; it must be between 0 and 1"),
        ({"frame_skip": 0}, "frame_skip is 0; it must be between 1 and 60"),
        ({"fire": True}, "its rules of play are {'fire': True}; allowed are fire_reset, life_loss, sticky"),
        ({"sticky": "often"}, "its rules of play are {'sticky': 'often'}; allowed are"),
        (3, "its rules of play are 3; allowed are"),
    ],
)
def test_rules_of_a_header_are_checked(rules, said):
    """What a file says that cannot be is one line."""
    with pytest.raises(ValueError, match=said.replace("{", r"\{")):
        EnvRules.of({"rules": rules})
