"""Files of starts: what is drawn, what is kept, what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from distill.atari.cartridge import Cartridge
from distill.atari.starts import Episode, Start, Starts, sample_starts, screen_hash


def episode(frames: int, seed: int) -> Episode:
    """Random play of Breakout."""
    return Episode(np.random.default_rng(seed).integers(18, size=frames).astype(np.uint8), frames)


EPISODES = [episode(300, 1), episode(100, 2)]


@pytest.fixture(scope="module")
def starts() -> Starts:
    return sample_starts("breakout", EPISODES, count=40, seed=3, player="chance", human=False, licence="CC0-1.0")


def test_starts_are_drawn_from_the_first_fifth(starts):
    """Each start is a beginning of one of the episodes, at most a fifth of it, and none is there twice."""
    found = {start.actions.tobytes() for start in starts.starts}
    allowed = {one.actions[:frame].tobytes() for one in EPISODES for frame in range(1, one.frames // 5 + 1)}
    assert found <= allowed
    assert len(found) == 40
    assert len(allowed) == 80
    assert {len(actions) > 20 for actions in found} == {True, False}


def test_a_start_keeps_the_screen_to_which_it_leads(starts):
    """Whoever plays the actions on a freshly loaded game sees the screen of the hash, and not one frame earlier."""
    start = max(starts.starts, key=lambda one: len(one.actions))
    cartridge = Cartridge("breakout")
    for action in start.actions[:-1].tolist():
        cartridge.act(action)
    before = screen_hash(cartridge.screen)
    cartridge.act(int(start.actions[-1]))
    assert screen_hash(cartridge.screen) == start.screen != before


def test_drawing_depends_on_the_seed(starts):
    """One seed gives the same bytes, another gives others."""
    whose = {"player": "chance", "human": False, "licence": "CC0-1.0"}
    assert sample_starts("breakout", EPISODES, count=40, seed=3, **whose).to_bytes() == starts.to_bytes()
    assert sample_starts("breakout", EPISODES, count=40, seed=4, **whose).to_bytes() != starts.to_bytes()


def test_unverified_frames_give_no_starts():
    """Only frames that are vouched for are drawn from, though the fifth is one of the whole episode."""
    cut = Episode(EPISODES[0].actions[:10], 300)
    starts = sample_starts("breakout", [cut], count=10, player="chance", human=False, licence="none")
    assert [len(start.actions) for start in starts.starts] == list(range(1, 11))
    with pytest.raises(ValueError, match=r"count is 11.* are 10 frames; record more"):
        sample_starts("breakout", [cut], count=11, player="chance", human=False, licence="none")


def test_a_file_gives_back_what_was_saved(starts, tmp_path):
    """Saving and loading changes nothing."""
    starts.save(tmp_path / "starts")
    assert Starts.load(tmp_path / "starts", "breakout").to_bytes() == starts.to_bytes()
    assert list(tmp_path.iterdir()) == [tmp_path / "starts"]


def test_whose_they_are_is_said(starts):
    """Starts that no person reached say so."""
    assert starts.described == "40 starts played by chance, not human"
    assert replace(starts, human=True).described == "40 starts played by chance"


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-1], lambda content: b"\0" + content[1:], lambda content: b""]
)
def test_a_damaged_file_is_refused(starts, tmp_path, damage):
    """A cut file, a flipped bit and an empty file are named."""
    starts.save(tmp_path / "starts")
    (tmp_path / "starts").write_bytes(damage((tmp_path / "starts").read_bytes()))
    with pytest.raises(ValueError, match="starts is no whole file of starts"):
        Starts.load(tmp_path / "starts")


def test_other_files_and_games_are_refused(starts, tmp_path):
    """A missing file and one of another game are named."""
    starts.save(tmp_path / "starts")
    with pytest.raises(ValueError, match="holds starts of breakout; starts of pong are needed"):
        Starts.load(tmp_path / "starts", "pong")
    with pytest.raises(ValueError, match="nowhere is no whole file of starts"):
        Starts.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"rom_md5": "0" * 32}, "md5 0000"),
        ({"starts": ()}, "there are no starts"),
        ({"starts": (Start(np.array([0, 18], np.uint8), ""),)}, "start 0 of breakout .* from 0 to 17"),
        ({"starts": (Start(np.zeros(0, np.uint8), ""),)}, "start 0 of breakout .* one or more"),
        ({"game": "breakot"}, "did you mean breakout"),
    ],
)
def test_bad_starts_are_refused(starts, changed, reason):
    """Another cartridge, no starts at all, and actions that no console has are refused, naming the start."""
    with pytest.raises(ValueError, match=reason):
        replace(starts, **changed)
