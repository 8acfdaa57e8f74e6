"""Recordings of openai/atari-demo: read without running what a pickle may ask for, and verified as others are."""

import os
import pickle

import numpy as np
import pytest

from distill.atari.cartridge import Cartridge, legal_actions
from distill.tools.demo_file import read_demo
from distill.tools.play_log import verify
from tests.conftest import ROOT

REAL = ROOT.parent / "shared" / "human" / "Pong.demo"
GAME = "space_invaders"


def played(frames: int, *, reset: bool = False) -> dict[str, list]:
    """What such a recorder would have kept: FIRE and both directions, and its emulator's states as arrays."""
    actions = np.random.default_rng(1).choice([1, 2, 3], size=frames).tolist()
    cartridge = Cartridge(GAME)
    rewards = [float(cartridge.act(legal_actions(GAME)[action])) for action in actions]
    return {
        "actions": actions,
        "rewards": [0, *rewards] if reset else rewards,
        "signed_rewards": [np.float64(reward) for reward in rewards],
        "lives": [3] * (frames + 1),
        "checkpoints": [np.arange(985, dtype=np.uint8)] * (frames // 100),
        "checkpoint_action_nr": list(range(100, frames + 1, 100)),
    }


@pytest.fixture
def demo(tmp_path):
    """Write a recording and return its path."""

    def write(content: object, name: str = "SpaceInvaders.demo", protocol: int = 3):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
        return tmp_path / name

    return write


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("protocol", [3, 5])
def test_a_recording_is_read_and_verified(demo, reset, protocol):
    """Indices become the console's actions, each with its own frame's reward; all up to the last point is confirmed."""
    content = played(1200, reset=reset)
    header, rows = read_demo(demo(content, protocol=protocol))
    assert header == {"game": GAME}
    assert [row.action for row in rows] == [legal_actions(GAME)[action] for action in content["actions"]]
    points = [frame for frame, row in enumerate(rows) if row.reward]
    assert len(points) > 2
    (verified,) = verify(GAME, rows, lambda row: None)
    assert len(verified.episode.actions) == points[-1] + 1
    assert (verified.rows, verified.diverges) == (1200, "")


def test_its_game_is_said_by_the_option_or_the_name(demo):
    """An option goes before the file's name; where neither names a game, the option is asked for."""
    content = played(3)
    assert read_demo(demo(content), "pong")[0] == {"game": "pong"}
    assert read_demo(demo(content, "mine.demo"), GAME)[0] == {"game": GAME}
    with pytest.raises(ValueError, match=r"mine.demo does not say its game, nor does its name; give --game"):
        read_demo(demo(content, "mine.demo"))


class Running:
    """Whose pickle makes a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_no_code_runs(demo, tmp_path, protocol):
    """A file that asks for a function is refused by that function's name, and the function is not called."""
    content = {"actions": [0], "rewards": [0], "lives": [Running(str(tmp_path / "made"))]}
    file = demo(content, protocol=protocol)
    with pytest.raises(ValueError, match=r"no recording that is opened .*mkdir'; nothing but plain values") as error:
        read_demo(file)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "made").exists()
    pickle.loads(file.read_bytes())
    assert (tmp_path / "made").exists()


WHOLE = {"actions": [0, 1, 2], "rewards": [0.0, 5.0, 0.0]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no recording .*damaged or cut short"),
        (b"frame_id,episode_id", "no recording .*damaged or cut short"),
        (pickle.dumps(WHOLE)[:-5], "no recording .*damaged or cut short"),
        (b"\x80\x03}r\x00\x00\x80\x00.", "no recording .*damaged or cut short"),  # a number that fills 100 MB of memory
        ([1, 2], "must hold a dictionary with actions and rewards"),
        ({"actions": [0]}, "must hold a dictionary with actions and rewards"),
        (WHOLE | {"actions": 5}, "has actions that are no list"),
        (WHOLE | {"actions": []}, "has actions that are no list, or an empty one"),
        (WHOLE | {"actions": np.zeros(3, int)}, "has actions that are no list"),
        (WHOLE | {"actions": [0, np.int64(1), 2]}, r"actions\[1\] is one of NumPy's; it must be a whole number"),
        (WHOLE | {"actions": [0, 1.0, 2]}, r"actions\[1\] is 1.0; it must be a whole number"),
        (WHOLE | {"actions": [0, True, 2]}, r"actions\[1\] is a bool; it must be a whole number"),
        (WHOLE | {"actions": [0, 1, 6]}, "frame 2: action 6; those of space_invaders must be between 0 and 5"),
        (WHOLE | {"actions": [0, -1, 2]}, "frame 1: action -1"),
        (WHOLE | {"rewards": [0, 0.5, 0]}, r"rewards\[1\] is 0.5; it must be a whole number"),
        (WHOLE | {"rewards": [0, float("nan"), 0]}, r"rewards\[1\] is nan"),
        (WHOLE | {"rewards": [0, "1\n2", 0]}, r"rewards\[1\] is a str"),
        (WHOLE | {"rewards": [0, 10**5000, 0]}, r"rewards\[1\] is larger; it must be a whole number of at most 2,147"),
        (WHOLE | {"rewards": [0] * 2}, "has 2 rewards for 3 actions; there must be as many, or one more"),
        (WHOLE | {"rewards": [0] * 5}, "has 5 rewards for 3 actions; there must be as many, or one more"),
    ],
)
def test_other_content_is_refused(demo, content, reason):
    """What is damaged, of other types, or does not fit is named with what is allowed, in one line."""
    with pytest.raises(ValueError, match=reason) as error:
        read_demo(demo(content))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_refused(tmp_path):
    """A file that is not there is named."""
    with pytest.raises(ValueError, match=r"nowhere.demo is no recording \(No such file"):
        read_demo(tmp_path / "nowhere.demo")


@pytest.mark.skipif(not REAL.exists(), reason="the recording of Pong, which is not ours to hand on, is not there")
def test_the_recording_of_pong_is_confirmed():
    """All frames up to the last point of openai/atari-demo's game of Pong are as recorded."""
    header, rows = read_demo(REAL)
    (verified,) = verify("pong", rows, lambda row: None)
    assert (header, verified.vouched, verified.rows) == ({"game": "pong"}, 22_860, 22_869)
