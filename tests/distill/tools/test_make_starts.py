"""From play to starts: recordings of people, folders of them, and a network's stand-in."""

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
from distill.tools.play_log import LogWriter
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
