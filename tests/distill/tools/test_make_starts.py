"""From play to starts: recordings of people, folders of them, and a network's stand-in."""

import bz2
import pickle

import cv2
import numpy as np
import pytest

from distill.atari.cartridge import Cartridge, legal_actions
from distill.atari.environments import Atari
from distill.atari.starts import Starts
from distill.cli import main
from distill.engine import frozen_policy
from distill.evaluation import EvalConfig, score_episodes
from distill.randomness import generator
from distill.rollout import environment_seed
from distill.tools.play_log import COLUMNS, LogWriter
from distill.weights.load import load_network


def refused(capsys, *args: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(list(args))
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.fixture
def recording(tmp_path):
    """A folder with two recordings of Breakout."""
    for name, seed in (("a", 0), ("b", 1)):
        log = LogWriter(tmp_path / "logs" / f"{name}.txt", "breakout", player="Ada", licence="CC0-1.0")
        cartridge = Cartridge("breakout")
        for action in np.random.default_rng(seed).integers(18, size=200).tolist():
            screen = cartridge.screen
            log.add(screen, action, cartridge.act(action))
        log.close()
    return tmp_path / "logs"


def write_demo(path) -> None:
    """Play Breakout until after its second point, and keep it as openai/atari-demo does."""
    actions = np.repeat(np.random.default_rng(11).integers(1, 4, size=60), 10).tolist()
    cartridge = Cartridge("breakout")
    rewards = [float(cartridge.act(legal_actions("breakout")[action])) for action in actions]
    path.write_bytes(pickle.dumps({"actions": actions, "rewards": rewards, "checkpoints": [np.zeros(985, np.uint8)]}))


def test_a_folder_of_recordings_becomes_starts(recording, tmp_path, capsys):
    """The starts come from all recordings, and say whose they are; what was verified is reported."""
    out = tmp_path / "breakout.starts"
    main(["import-starts", str(recording), "--out", str(out), "--count", "50", "--seed", "2"])
    starts = Starts.load(out, "breakout")
    assert (starts.player, starts.human, starts.licence, len(starts.starts)) == ("Ada", True, "CC0-1.0", 50)
    assert len({int(start.actions[0]) for start in starts.starts}) == 2
    report = capsys.readouterr().out
    assert "a.txt, episode 0: 199 of 200 frames verified" in report
    assert "50 starts played by Ada, CC0-1.0" in report


def test_what_is_no_recording_is_named_and_skipped(recording, tmp_path, capsys):
    """A folder's other files cost it nothing but a line each; its `.demo` files count; pictures are no other files."""
    write_demo(recording / "Breakout.demo")
    (recording / "a.tar.bz2").write_bytes(bz2.compress(bytes(10240)))
    (recording / "notes.txt").write_text("nice game")
    (recording / "README.md").write_text("# Played on a Sunday")
    (recording / "other.demo").write_bytes(b"cut")
    command = ["import-starts", str(recording), "--out", str(recording / "starts"), "--count", "50"]
    assert "Breakout.demo does not say its player" in refused(capsys, *command)  # though the others say theirs
    command += ["--player", "Ada", "--licence", "CC0-1.0"]
    for again in ([], ["--overwrite"]):
        main(command + again)
        report = capsys.readouterr().out.splitlines()
        skipped = [line for line in report if line.endswith("; skipped")]
        named = ("README.md", "notes.txt", "other.demo") + (("starts",) if again else ())
        assert [line.split(" is no recording")[0] for line in skipped] == [str(recording / name) for name in named]
        verified = [line.split(",")[0] for line in report if "frames verified" in line]
        assert verified == ["Breakout.demo", "a.txt", "b.txt"]
    for path in recording.iterdir():
        if path.name not in ("notes.txt", "other.demo"):
            path.unlink()
    assert "holds no recording (*.txt, *.demo)" in refused(capsys, *command)
    assert not (recording / "starts").exists()


def test_colour_averaging_is_found_and_said(tmp_path, capsys):
    """Pictures that blend two frames are verified without an option, and the report says so."""
    cartridge = Cartridge("breakout", color_averaging=True)
    (tmp_path / "trial").mkdir()
    rows = [COLUMNS]
    for frame, action in enumerate([1, 3, 4] * 20):
        cv2.imwrite(str(tmp_path / "trial" / f"T_{frame}.png"), cartridge.picture[..., ::-1])
        rows.append(f"T_{frame},null,null,16,{cartridge.act(action)},{action}")
    (tmp_path / "trial.txt").write_text("\n".join([*rows, ""]))
    whose = ["--game", "breakout", "--player", "Ada", "--licence", "CC0-1.0"]
    main(["import-starts", str(tmp_path / "trial.txt"), "--out", str(tmp_path / "starts"), "--count", "10", *whose])
    report = capsys.readouterr().out.splitlines()
    assert report[0] == "trial.txt, episode 0: 59 of 60 frames verified, with colour averaging"
    assert len(Starts.load(tmp_path / "starts", "breakout").starts) == 10


def test_a_demo_says_neither_player_nor_licence(tmp_path, capsys):
    """Who played a `.demo` file and how it may be used is asked for, and its game where its name is none."""
    file, out = tmp_path / "Breakout.demo", str(tmp_path / "out")
    write_demo(file)
    command = ["import-starts", str(file), "--out", out, "--count", "10"]
    assert "does not say its player; give --player" in refused(capsys, *command)
    assert "does not say its licence; give --licence" in refused(capsys, *command, "--player", "Ada")
    assert "did you mean breakout?" in refused(capsys, *command, "--game", "brakout")
    whose = ["--player", "Ada", "--licence", "CC0-1.0"]
    main([*command, *whose])
    assert Starts.load(out, "breakout").described == "10 starts played by Ada"
    assert "Breakout.demo, episode 0: 591 of 600 frames verified" in capsys.readouterr().out
    file.rename(tmp_path / "mine.demo")
    command[1] = str(tmp_path / "mine.demo")
    assert "nor does its name; give --game" in refused(capsys, *command, *whose, "--overwrite")


def test_bad_recordings_give_no_starts(recording, tmp_path, capsys):
    """What contradicts the recording, what it does not say, and what cannot be verified is refused; no file is left."""
    out = str(tmp_path / "out")
    one = str(recording / "a.txt")
    assert "says that its game is 'breakout', not 'pong'" in refused(
        capsys, "import-starts", one, "--out", out, "--game", "pong"
    )
    assert "count is 100, but the first 20% of 1 episodes" in refused(capsys, "import-starts", one, "--out", out)
    text = (recording / "a.txt").read_text()
    (recording / "b.txt").write_text(text.replace('"rom_md5": "', '"rom_md5": "0'))
    assert "was played on the cartridge 0" in refused(capsys, "import-starts", str(recording / "b.txt"), "--out", out)
    text = text.split("\n", 1)[1]
    (recording / "a.txt").write_text("\n".join(line.rsplit(",", 1)[0] for line in text.splitlines()) + "\n")
    assert "does not say its game; give --game" in refused(capsys, "import-starts", one, "--out", out)
    whose = ["--game", "breakout", "--player", "Ada", "--licence", "CC0-1.0"]
    assert "no frame of" in refused(capsys, "import-starts", one, "--out", out, *whose)
    (tmp_path / "empty").mkdir()
    assert "holds no recording" in refused(capsys, "import-starts", str(tmp_path / "empty"), "--out", out)
    assert not (tmp_path / "out").exists()


def test_a_network_stands_in(make_teacher, tmp_path):
    """Starts of a network's play lead where it went, and say that no person played."""
    weights = make_teacher("breakout")
    main(["draw-starts", weights, "--out", str(tmp_path / "starts"), "--episodes", "2", "--count", "30"])
    starts = Starts.load(tmp_path / "starts", "breakout")
    assert not starts.human
    assert starts.described == "30 starts played by breakout.safetensors at epsilon 0.3, not human"
    assert all(set(start.actions.tolist()) <= set(legal_actions("breakout")) for start in starts.starts)
    episodes = EvalConfig("breakout", (0, 1), 0, max_frames=400, starts=starts)
    assert len(score_episodes(frozen_policy(load_network(weights)[0]), episodes)) == 2


def test_no_ops_are_part_of_a_networks_play(make_teacher, tmp_path):
    """The log begins with the native environment's no-ops; after them each action is there for four frames."""
    main(["draw-starts", make_teacher("pong"), "--out", str(tmp_path / "starts"), "--episodes", "1", "--count", "60"])
    games = Atari("pong", 1)
    games.restart(np.array([environment_seed(generator(1, "start", "pong", 0))]))
    idle = len(games.lead_in(0))
    games.close()
    longest = max((start.actions for start in Starts.load(tmp_path / "starts").starts), key=len)
    assert not longest[:idle].any()
    steps = longest[idle : idle + (len(longest) - idle) // 4 * 4].reshape(-1, 4)
    assert (steps == steps[:, :1]).all()
    assert len(set(steps[:, 0].tolist())) > 2
    assert idle > 0


def test_a_recording_is_not_written_over(recording, capsys):
    """A person's play cannot be made again: `--out` may be none of the recordings."""
    log = recording / "a.txt"
    before = log.read_bytes()
    assert "which is what is read" in refused(capsys, "import-starts", str(recording), "--out", str(log))
    assert log.read_bytes() == before
