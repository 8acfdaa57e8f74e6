"""The games, played for real."""

import numpy as np
import pytest

from distill.atari.cartridge import check_game, num_actions, rom_md5
from distill.atari.environments import Atari
from distill.atari.rules import PAPER_RULES, EnvRules


def random_actions(games: Atari, steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(games.num_actions, size=(steps, games.num_envs))


@pytest.mark.parametrize(
    "ask", [check_game, num_actions, PAPER_RULES.action_names, rom_md5, lambda game: Atari(game, 1)]
)
def test_unknown_game(ask):
    """An unknown game is refused with the name that is near."""
    with pytest.raises(ValueError, match="'MsPacman' is unknown; did you mean ms_pacman"):
        ask("MsPacman")


@pytest.mark.parametrize(
    ("game", "count"),
    [
        ("beam_rider", 9),
        ("breakout", 4),
        ("enduro", 9),
        ("freeway", 3),
        ("ms_pacman", 9),
        ("pong", 6),
        ("qbert", 6),
        ("riverraid", 18),
        ("seaquest", 18),
        ("space_invaders", 6),
    ],
)
def test_legal_actions(game, count):
    """The paper's ten games have their minimal action sets."""
    assert num_actions(game) == count
    assert len(set(PAPER_RULES.action_names(game))) == count


def test_actions_do_what_their_names_say():
    """Breakout's paddle goes where the action of that number is said to take it."""

    def paddle(name: str) -> float:
        games = Atari("breakout", 1)
        games.restart(np.array([3]))
        for _ in range(5):
            frames = games.step(np.array([PAPER_RULES.action_names("breakout").index(name)]))[0]
        row = frames[0, -1, 76, 8:76].astype(float)  # between the walls
        return row @ np.arange(len(row)) / row.sum()

    assert paddle("LEFT") < paddle("NOOP") - 5
    assert paddle("RIGHT") > paddle("NOOP") + 5


def episode(games: Atari, env: int, seed: int, actions: np.ndarray) -> list[tuple]:
    """Restart one environment and play it with the given actions, the others with any."""
    which = np.arange(games.num_envs) == env
    others = random_actions(games, len(actions), seed=99)
    seen = [(games.restart(np.array([seed]), which)[env].tobytes(),)]
    for action, step in zip(actions, others, strict=True):
        step[env] = action
        observations, rewards, ended, lives = games.step(step)
        seen.append((observations[env].tobytes(), rewards[env], ended[env], lives[env]))
    return seen


@pytest.mark.parametrize("game", ["freeway", "pong"])
def test_an_episode_depends_on_seed_and_actions_alone(game):
    """Neither the environment's place nor what was played before shows; seed and actions do."""
    fresh, used = Atari(game, 1), Atari(game, 3)
    actions = random_actions(fresh, 80)[:, 0]
    fresh.restart(np.array([0]))
    expected = episode(fresh, 0, 5, actions)

    used.restart(np.array([1, 2, 3]))
    for step in random_actions(used, 150, seed=1):
        used.step(step)
    assert episode(used, 2, 5, actions) == expected
    assert episode(used, 0, 5, actions) == expected
    assert episode(used, 0, 6, actions) != expected
    assert episode(used, 0, 5, actions[::-1]) != expected


def test_closed_environments_are_used_again(monkeypatch):
    """What is made like one that was closed in the midst of a game is not made anew, and plays what a new one does."""
    actions = random_actions(Atari("freeway", 1), 80)[:, 0]
    used = Atari("freeway", 2, max_frames=400)
    used.restart(np.array([1, 2]))
    expected = episode(used, 0, 5, actions)
    used.step(np.array([1, 2]))
    used.close()
    monkeypatch.delattr("ale_py.AtariVectorEnv")
    again = Atari("freeway", 2, max_frames=400)
    again.restart(np.array([3, 4]))
    assert episode(again, 1, 5, actions) == expected
    with pytest.raises(AttributeError):
        Atari("freeway", 2, max_frames=404)


def test_environments_in_the_midst_of_a_step_are_not_used_again(monkeypatch):
    """Whoever stops between `send` and `recv` leaves nothing behind that another might wait for."""
    stopped = Atari("freeway", 1, max_frames=396)
    stopped.restart(np.array([1]))
    stopped.send(np.array([1]))
    stopped.close()
    monkeypatch.delattr("ale_py.AtariVectorEnv")
    with pytest.raises(AttributeError):
        Atari("freeway", 1, max_frames=396)


def test_restart_leaves_the_others_alone():
    """Environments that are not restarted show what they showed and go on as if nothing had happened."""
    seen = []
    for disturbed in (False, True):
        games = Atari("pong", 2)
        games.restart(np.array([1, 2]))
        actions = random_actions(games, 60)
        frames = [games.step(step)[0][0].copy() for step in actions[:30]]
        if disturbed:
            observations = games.restart(np.array([7]), np.array([False, True]))
            np.testing.assert_array_equal(observations[0], frames[-1])
        frames += [games.step(step)[0][0].copy() for step in actions[30:]]
        seen.append(np.stack(frames))
    np.testing.assert_array_equal(*seen)


def test_seeds_set_the_no_ops():
    """Episodes begin at the moment that their own seed says, on a stack that is empty but for the newest frame."""
    seeds, games, later = np.arange(5), Atari("pong", 5), []
    for order in (seeds, np.roll(seeds, 1)):
        observations = games.restart(order)
        assert not observations[:, :3].any()
        assert observations[:, 3].any(axis=(1, 2)).all()
        for _ in range(20):
            observations = games.step(np.zeros(5, int))[0]
        later.append([seen.tobytes() for seen in observations])
    assert later[1] == [later[0][seed] for seed in np.roll(seeds, 1)]
    assert len(set(later[0])) >= 4


@pytest.mark.parametrize("action", [-1, 6])
def test_an_action_out_of_range(action):
    """An action that the game does not have is refused, and the environment can go on."""
    games = Atari("pong", 2)
    games.restart(np.array([1, 2]))
    with pytest.raises(ValueError, match="pong has actions 0 to 5"):
        games.step(np.array([0, action]))
    games.step(np.array([0, 5]))


def test_rewards_are_not_clipped():
    """A cube in Q*bert brings 25 points, and the reward says so."""
    games = Atari("qbert", 2)
    games.restart(np.array([1, 2]))
    rewards = np.stack([games.step(step)[1] for step in random_actions(games, 150)])
    assert set(rewards.ravel().tolist()) == {0, 25}


def test_an_episode_lasts_for_all_lives_and_no_longer():
    """A lost life does not end an episode of Breakout, the last one does."""
    games = Atari("breakout", 1)
    games.restart(np.array([3]))
    lives, ends = [], []
    for step in random_actions(games, 2000):
        _, _, ended, left = games.step(step)
        lives.append(int(left[0]))
        ends.append(bool(ended[0]))
        if ends[-1]:
            break
    assert sorted(set(lives), reverse=True) == [5, 4, 3, 2, 1, 0]
    assert ends == [left == 0 for left in lives]


def test_fire_is_left_to_the_player():
    """Breakout waits for its first ball until the player fires."""
    games = Atari("breakout", 1)
    games.restart(np.array([3]))
    idle = [games.step(np.array([0]))[3][0] for _ in range(150)]
    assert idle[-1] == 5
    fire = PAPER_RULES.action_names("breakout").index("FIRE")
    assert [games.step(np.array([fire]))[3][0] for _ in range(150)][-1] < 5


@pytest.mark.parametrize("max_frames", [61, 64])
def test_episodes_are_cut(max_frames):
    """An episode is cut at the step that reaches `max_frames`."""
    games = Atari("pong", 2, max_frames=max_frames)
    games.restart(np.arange(2))
    last = -(-max_frames // 4)
    ends = [games.step(np.zeros(2, int))[2].tolist() for _ in range(last)]
    assert ends == [[False] * 2] * (last - 1) + [[True] * 2]


@pytest.mark.parametrize(("sticky", "obeys"), [(0.0, True), (1.0, False)])
def test_sticky(sticky, obeys):
    """With stickiness 1 the first action is repeated for ever; with 0, the default of play, each one counts."""
    seen = []
    for seed in (0, 1):
        games = Atari("pong", 1, env=EnvRules(sticky=sticky))
        games.restart(np.array([3]))
        frames = [games.step(step)[0].copy() for step in random_actions(games, 60, seed)]
        seen.append(np.stack(frames))
    assert (seen[0] != seen[1]).any() == obeys


def test_an_episode_begins_with_0_to_30_noops():
    """Both ends come up; the emulator's own range leaves out the upper one."""
    games = Atari("pong", 4)
    games.restart(np.array([9, 45, 48, 56]))
    assert [len(games.lead_in(env)) for env in range(4)] == [0, 30, 0, 30]
