"""Recordings of a person's play: written as it goes, read, and verified against the emulator."""

import tarfile

import cv2
import numpy as np
import pytest

from distill.atari.cartridge import Cartridge
from distill.tools.play_log import COLUMNS, LogRow, LogWriter, pictures, read, verify

ACTIONS = np.random.default_rng(0).integers(18, size=160).tolist()


def rows_of(game: str, actions: list[int], cartridge: Cartridge, episode: str = "0") -> list[LogRow]:
    """What a recorder of Atari-HEAD would have written."""
    cartridge.restart()
    return [
        LogRow(f"{episode}_{frame}", episode, cartridge.act(action), action, "") for frame, action in enumerate(actions)
    ]


def nothing_seen(row: LogRow) -> None:
    return None


def test_a_recording_can_be_read_while_it_is_written(tmp_path):
    """Every frame is in the file at once; a last line that was cut is left out."""
    log = LogWriter(tmp_path / "log.txt", "breakout", player="me", licence="CC0-1.0")
    cartridge = Cartridge("breakout")
    for action in ACTIONS[:20]:
        screen = cartridge.screen
        log.add(screen, action, cartridge.act(action))
    header, rows = read(tmp_path / "log.txt")
    assert (header["game"], header["player"], header["licence"], header["human"]) == ("breakout", "me", "CC0-1.0", True)
    assert [row.action for row in rows] == ACTIONS[:20]
    log.end_episode()
    log.add(cartridge.screen, 3, 0)
    assert [row.episode for row in read(tmp_path / "log.txt")[1]] == ["0"] * 20 + ["1"]
    text = (tmp_path / "log.txt").read_text()
    (tmp_path / "log.txt").write_text(text[:-4])
    assert len(read(tmp_path / "log.txt")[1]) == 20
    log.close()


def test_an_existing_file_is_not_overwritten(tmp_path):
    """What somebody played is not lost to a second recording of the same name."""
    (tmp_path / "log.txt").write_text("precious")
    with pytest.raises(FileExistsError):
        LogWriter(tmp_path / "log.txt", "pong", player="me", licence="none")
    assert (tmp_path / "log.txt").read_text() == "precious"


def test_our_recordings_are_verified_screen_by_screen(tmp_path):
    """A recording replays as a whole; with one action changed, up to the first screen that is another."""
    log = LogWriter(tmp_path / "log.txt", "breakout", player="me", licence="none")
    cartridge = Cartridge("breakout")
    for _ in range(2):
        cartridge.restart()
        for action in ACTIONS:
            screen = cartridge.screen
            log.add(screen, action, cartridge.act(action))
        log.end_episode()
    log.close()
    _, rows = read(tmp_path / "log.txt")
    for verified in verify("breakout", rows, nothing_seen):
        assert verified.episode.actions.tolist() == ACTIONS[:-1]  # nobody saw what the last one led to
        assert (verified.episode.frames, verified.diverges) == (160, "")
    wrong = [row._replace(screen="00000000") if place == 70 else row for place, row in enumerate(rows[:160])]
    (verified,) = verify("breakout", wrong, nothing_seen)
    assert verified.episode.actions.tolist() == ACTIONS[:69]
    assert verified.diverges == "frame 70: the screen is another"
    assert verified.episode.frames == 69  # where the episode ended is not known: perhaps nothing numbered them
    first, second = verify("breakout", [*wrong, *rows[160:]], nothing_seen)
    assert (first.episode.frames, second.episode.frames) == (160, 160)


@pytest.mark.parametrize("packed", [False, True])
def test_atari_head_is_verified_picture_by_picture(tmp_path, packed):
    """A label file with its pictures, in a folder or an archive, replays up to the picture that is another."""
    cartridge = Cartridge("breakout")
    (tmp_path / "trial").mkdir()
    rows = []
    for frame, action in enumerate(ACTIONS[:60]):
        picture = cartridge.picture.copy()
        if frame == 50:
            picture[100, 80] ^= 255
        cv2.imwrite(str(tmp_path / "trial" / f"T_{frame}.png"), picture[..., ::-1])
        rows.append(f"T_{frame},null,null,16,{cartridge.act(action)},{action},10.5,20.5,11.0,21.0")
    (tmp_path / "trial.txt").write_text("\n".join([f"{COLUMNS},gaze_positions", *rows, "T_60,0,0,16,0,null,null", ""]))
    if packed:
        with tarfile.open(tmp_path / "trial.tar.bz2", "w:bz2") as archive:
            archive.add(tmp_path / "trial", "trial")
        for picture in (tmp_path / "trial").iterdir():
            picture.unlink()
        (tmp_path / "trial").rmdir()
    header, found = read(tmp_path / "trial.txt")
    assert header == {}
    with pictures(tmp_path / "trial.txt") as seen:
        (verified,) = verify("breakout", found, seen)
    assert verified.episode.actions.tolist() == ACTIONS[:49]
    assert verified.diverges == "frame 50: picture T_50 shows something else"


@pytest.mark.parametrize("blending", [False, True])
def test_pictures_that_blend_two_frames_are_recognised(tmp_path, blending):
    """Pictures with and without colour averaging are verified alike, and it is said which they are."""
    cartridge = Cartridge("breakout", color_averaging=blending)
    (tmp_path / "trial").mkdir()
    rows = []
    for frame, action in enumerate([0, 0, 0, *ACTIONS[:60]]):
        if frame >= 3:
            cv2.imwrite(str(tmp_path / "trial" / f"T_{frame}.png"), cartridge.picture[..., ::-1])
        reward = cartridge.act(action)
        if frame >= 3:
            rows.append(LogRow(f"T_{frame}", "0", reward, action, ""))
    with pictures(tmp_path / "trial.txt") as seen:
        (verified,) = verify("breakout", rows, seen)
    assert (verified.vouched, verified.diverges, verified.color_averaging) == (59, "", blending)
    assert verified.episode.actions.tolist() == [0, 0, 0, *ACTIONS[:59]]


def test_a_byte_order_mark_is_left_out(tmp_path):
    """A text file that an editor of Windows saved is read as without its first three bytes, of either kind."""
    log = LogWriter(tmp_path / "ours.txt", "breakout", player="me", licence="none")
    log.add(Cartridge("breakout").screen, 1, 0)
    log.close()
    (tmp_path / "theirs.txt").write_text(f"{COLUMNS}\nT_0,0,0,16,0,3\n")
    for name in ("ours.txt", "theirs.txt"):
        without = read(tmp_path / name)
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (tmp_path / name).read_bytes())
        assert read(tmp_path / name) == without
        assert len(without[1]) == 1


def playing(game: str, frames: int) -> list[LogRow]:
    """Rows with points: FIRE and both directions."""
    random = np.random.default_rng(1)
    return rows_of(game, random.choice([1, 3, 4], size=frames).tolist(), Cartridge(game))


def test_without_pictures_rewards_vouch():
    """Frames are vouched for up to the last point that came when it was recorded."""
    rows = playing("space_invaders", 1500)
    points = [frame for frame, row in enumerate(rows) if row.reward]
    assert len(points) > 3
    (verified,) = verify("space_invaders", rows, nothing_seen)
    assert len(verified.episode.actions) == points[-1] + 1
    third = points[2]
    wrong = [row._replace(reward=0) if frame == third else row for frame, row in enumerate(rows)]
    (verified,) = verify("space_invaders", wrong, nothing_seen)
    assert len(verified.episode.actions) == points[1] + 1
    assert verified.diverges == f"frame {third}: the reward is {rows[third].reward}, 0 was recorded"
    blind = [row._replace(reward=None) for row in rows]
    (verified,) = verify("space_invaders", blind, nothing_seen)
    assert len(verified.episode.actions) == 0


def test_leading_noops_are_tried():
    """A recording whose emulator began three frames later is verified with three no-ops before it."""
    cartridge = Cartridge("space_invaders")
    actions = [0, 0, 0, *(row.action for row in playing("space_invaders", 700))]
    rows = rows_of("space_invaders", actions, cartridge)[3:]
    (verified,) = verify("space_invaders", rows, nothing_seen)
    length = len(verified.episode.actions)
    assert length > 100
    assert verified.episode.actions.tolist() == actions[:length]
    assert verified.diverges == ""


def test_episodes_without_numbers_are_told_apart():
    """Where rows go on after the episode's end, another begins there."""
    cartridge, actions = Cartridge("breakout"), []
    while not cartridge.over:
        actions.append(1)
        cartridge.act(1)
    rows = rows_of("breakout", actions, cartridge, "null") + rows_of("breakout", ACTIONS, cartridge, "null")
    first, second = verify("breakout", rows, nothing_seen)
    assert (first.episode.frames, second.episode.frames) == (len(actions), len(ACTIONS))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no recording; its columns"),
        ("a,b,c\n1,2,3\n", "no recording; its columns"),
        ('# distill {"game": 5}\n' + COLUMNS, "no recording .damaged"),
        ("# distill " + "[" * 100_000, "no recording .damaged"),
        (f"{COLUMNS}\n{'0' * 200_000}\n", "no recording .field larger"),
        (f"{COLUMNS}\n0,0,0,16,0,18\n", "line 2: action 18; it must be between 0 and 17"),
        (f"{COLUMNS}\n0,0,0,16,0,3\nx,y\n0,0,0,16,0,3\n", "line 3: 'x,y' is not"),
    ],
)
def test_other_files_are_refused(tmp_path, text, reason):
    """A file of another kind, a line that makes no sense, an action that no console has: named with their line."""
    (tmp_path / "log.txt").write_text(text)
    with pytest.raises(ValueError, match=reason):
        read(tmp_path / "log.txt")
    with pytest.raises(ValueError, match="nowhere is no recording"):
        read(tmp_path / "nowhere")
