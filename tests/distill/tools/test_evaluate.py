"""The `evaluate` command: figures, files, comparisons, refusals."""

import json
import re
from unittest.mock import ANY

import av
import numpy as np
import pytest
import torch
from PIL import Image

import distill
from distill.atari.cartridge import Cartridge
from distill.atari.rules import PAPER_RULES
from distill.atari.starts import Start, Starts, screen_hash
from distill.cli import main
from distill.engine import frozen_policy
from distill.evaluation import EvalConfig, play_episodes, score_episodes
from distill.film import Actor, bars_of, pane_of, shots_of, side_by_side
from distill.runs.status import LINE_SECONDS_VARIABLE
from distill.weights.load import load_network

SHORT = ["--max_frames", "400", "--episodes", "3"]


@pytest.fixture(scope="module")
def teachers(make_teacher) -> dict[str, str]:
    return {game: make_teacher(game) for game in ("breakout", "pong")}


@pytest.fixture(scope="module")
def starts(teachers, tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("starts") / "breakout.starts")
    main(["draw-starts", teachers["breakout"], "--out", path, "--episodes", "2", "--count", "5", "--epsilon", "1"])
    return path


def evaluated(tmp_path, *args: str) -> dict:
    main(["evaluate", *args, "--json", str(tmp_path / "figures.json"), "--overwrite"])
    return json.loads((tmp_path / "figures.json").read_text())


def test_it_says_how_far_it_is(teachers, monkeypatch, capsys):
    """While no episode has ended, frames and running scores; then how many have, their mean, and the time left."""
    monkeypatch.setattr("distill.runs.status.LOOK_SECONDS", 0.0)
    monkeypatch.setenv(LINE_SECONDS_VARIABLE, "0")
    main(["evaluate", teachers["breakout"], *SHORT])
    first, *_, last = [line for line in capsys.readouterr().err.splitlines() if line.startswith("playing")]
    assert re.fullmatch(r"playing 12 frames, 0.0 so far · \d:\d\d elapsed", first)
    assert re.fullmatch(r"playing 3/3 episodes, mean \S+ · 0:00 left · \d:\d\d elapsed", last)


def test_the_figures_are_those_of_the_episodes(teachers, tmp_path, capsys):
    """Every figure is what NumPy makes of the scores, which are those of the evaluation's episodes."""
    figures = evaluated(tmp_path, teachers["breakout"], "--max_frames", "1200", "--episodes", "9", "--seed", "5")
    network, _ = load_network(teachers["breakout"])
    scores = score_episodes(frozen_policy(network), EvalConfig("breakout", tuple(range(9)), 5, max_frames=1200))
    assert figures["scores"] == scores.tolist()
    assert figures["episodes"] == 9
    assert figures["mean"] == pytest.approx(scores.mean())
    assert figures["standard_error"] == pytest.approx(scores.std(ddof=1) / 3)
    assert figures["median"] == np.median(scores)
    assert (figures["min"], figures["max"]) == (scores.min(), scores.max())
    assert figures["iqm"] == pytest.approx(np.sort(scores)[2:7].mean())
    assert figures["interval95"][0] <= figures["mean"] <= figures["interval95"][1]
    assert "human" not in capsys.readouterr().out  # whose scores are of longer episodes


def test_from_python_it_returns_what_it_writes(teachers, tmp_path):
    """`distill.evaluate` gives the figures that the command writes."""
    written = evaluated(tmp_path, teachers["breakout"], "--episodes", "1", "--max_frames", "100")
    assert distill.evaluate(teachers["breakout"], episodes=1, max_frames=100) == {**written, "interval95": ANY}


def test_one_seed_gives_one_file(teachers, starts, tmp_path):
    """Two evaluations with one seed write the same bytes, from no-ops and from starts; another seed writes others."""
    for more in ([], ["--starts", starts]):
        written = []
        for seed in ("1", "1", "2"):
            evaluated(tmp_path, teachers["breakout"], *SHORT, *more, "--seed", seed)
            written.append((tmp_path / "figures.json").read_text().replace(f'"seed": {seed}', ""))
        assert written[0] == written[1] != written[2]


def test_each_start_is_played_once(teachers, starts, tmp_path, capsys):
    """With a file of starts an episode begins at each; the table and the file say that no person played them."""
    figures = evaluated(tmp_path, teachers["breakout"], "--starts", starts, "--max_frames", "400")
    assert figures["episodes"] == figures["distinct_episodes"] == 5
    assert "not human" in figures["protocol"]
    assert "not human" in " ".join(capsys.readouterr().out.split())
    whole = evaluated(tmp_path, teachers["breakout"], "--starts", starts, "--epsilon", "1")
    assert whole["human_normalised"] == pytest.approx((whole["mean"] - 1.6) / (27.9 - 1.6))
    assert "whose starts were others" in whole["human_normalised_by"]


def test_starts_are_used_round_and_round(teachers, starts, monkeypatch):
    """More episodes than starts begin again at the first; how many are handed over together changes nothing."""
    policy = frozen_policy(load_network(teachers["breakout"])[0])
    rules = EvalConfig("breakout", tuple(range(7)), 0, epsilon=0.0, max_frames=600, starts=Starts.load(starts))
    found = play_episodes(policy, rules)
    assert found.fingerprints[:2].tolist() == found.fingerprints[5:].tolist()
    assert len(set(found.fingerprints.tolist())) == 5
    monkeypatch.setattr("distill.evaluation.MAX_HANDED_OVER", 3)
    again = play_episodes(policy, rules)
    assert again.scores.tolist() == found.scores.tolist()
    assert again.fingerprints.tolist() == found.fingerprints.tolist()


def test_points_before_the_hand_over_do_not_count():
    """The score is that of the whole episode less what was scored before the hand-over."""
    shoot = np.random.default_rng(0).choice([1, 3, 4], size=1000).astype(np.uint8)
    cartridge = Cartridge("space_invaders")
    before = sum(cartridge.act(action) for action in shoot.tolist())
    start = Start(shoot, screen_hash(cartridge.screen))
    after = 0
    while not cartridge.over:
        after += cartridge.act(1)
    whose = {"player": "chance", "human": False, "licence": "none"}
    starts = Starts("space_invaders", starts=(start,), **whose)
    fire = lambda observations: np.eye(6, dtype=np.float32)[[1] * len(observations)]  # noqa: E731
    assert before > 0 < after
    assert score_episodes(fire, EvalConfig("space_invaders", (0,), 0, epsilon=0.0, starts=starts)).tolist() == [after]


def test_a_student_beside_its_teacher(teachers, tmp_path, capsys):
    """With a teacher, both shares of its score are given; equal networks have equal scores.

    Published scores are taken only for the rules that they are of.
    """
    file = teachers["breakout"]
    figures = evaluated(tmp_path, file, "--episodes", "2", "--seed", "6", "--teacher", file, "--epsilon", "1")
    assert figures["teacher"]["mean"] == figures["mean"] > figures["random"] == 1.7
    assert figures["ratio"] == figures["random_adjusted_ratio"] == 1
    assert figures["human_normalised"] == pytest.approx((figures["mean"] - 1.7) / (31.8 - 1.7))
    assert figures["human_normalised_by"] == "no-op starts, Mnih et al. 2015, of up to 5 minutes"
    assert "human-normalised" in capsys.readouterr().out
    short = evaluated(tmp_path, file, *SHORT, "--teacher", file)
    assert short["random"] < 1.7
    assert "human_normalised" not in short


def test_a_checkpoint_scores_like_its_weight_file(workdir):
    """A run's checkpoint and the file it leaves hold the same network."""
    main(["fit", "--config", "conf/compress.yaml", "--config", "conf/debug.yaml", "--run_dir", "run"])
    found = [
        evaluated(workdir, f"run/{file}", *SHORT)["scores"] for file in ("checkpoints/last.ckpt", "student.safetensors")
    ]
    assert found[0] == found[1]


def test_a_pickle_that_would_run_code_is_refused(tmp_path, capsys):
    """A checkpoint is never unpickled."""

    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "boom"), "w")

    torch.save({"state_dict": Bomb()}, tmp_path / "bomb.ckpt")
    with pytest.raises(SystemExit):
        main(["evaluate", str(tmp_path / "bomb.ckpt")])
    error = capsys.readouterr().err
    assert "never unpickled here" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "boom").exists()


def test_few_different_games_are_warned_of(teachers, capsys):
    """Greedy play without sticky actions warns, and says how many episodes were distinct; sticky actions differ."""
    args = ["evaluate", teachers["breakout"], "--max_frames", "40", "--episodes", "2", "--epsilon", "0"]
    main(args)
    assert "at most about 30 different games" in capsys.readouterr().err
    main([*args, "--sticky", "0.5"])
    assert "different games" not in capsys.readouterr().err


def test_a_video_shows_the_first_episode(teachers, starts, tmp_path):
    """The video has a picture for each frame that the network played; its first is the game's."""
    args = ["--max_frames", "200", "--episodes", "1", "--starts", starts]
    main(["evaluate", teachers["breakout"], *args, "--video", str(tmp_path / "v.mp4")])
    with av.open(tmp_path / "v.mp4") as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    steps = -(-(200 - len(Starts.load(starts).starts[0].actions)) // 4)
    assert len(frames) == 4 * steps
    assert frames[0].shape == (56 + 630 + 4 * 24 + 24, 480, 3)
    assert list(tmp_path.iterdir()) == [tmp_path / "v.mp4"]
    cartridge = Cartridge("breakout")
    for action in Starts.load(starts).starts[0].actions.tolist():
        cartridge.act(action)
    seen = cartridge.picture.repeat(3, axis=0).repeat(3, axis=1)
    assert np.abs(frames[0][56:686].astype(int) - seen).mean() < 10


def test_an_animation_shows_each_step(teachers, tmp_path):
    """A `.gif` has a picture for each step of the longer episode, half the size of the video's, and goes round."""
    args = ["--max_frames", "40", "--episodes", "1", "--teacher", teachers["breakout"]]
    main(["evaluate", teachers["breakout"], *args, "--video", str(tmp_path / "v.gif")])
    with Image.open(tmp_path / "v.gif") as film:
        assert (film.n_frames, film.info["loop"]) == (10, 0)
        assert film.size == ((480 + 8 + 480) // 2, (56 + 630 + 4 * 24 + 24) // 2)


def test_a_film_shows_both_side_by_side(make_teacher):
    """Teacher and student play the same episode, each for itself; who ends first waits, darkened."""
    network = frozen_policy(load_network(make_teacher("pong"))[0])
    actors = [Actor("teacher", network, 0.01), Actor("student", lambda seen: network(seen) * 0, 1.0)]
    rules = EvalConfig("pong", (0, 1), 0, epsilon=0.0, max_frames=40)
    shots = [[*shots_of(actor, rules._replace(numbers=(0,)))] for actor in actors]
    assert [len(shot.frames) for shot in shots[0]] == [4] * len(shots[0])
    assert {shot.action for shot in shots[1]} == {0}
    assert all(shot.probabilities.tolist() == [1 / 6] * 6 for shot in shots[1])
    assert max(shot.probabilities.max() for shot in shots[0]) > 0.9
    assert (shots[0][0].frames[0] == shots[1][0].frames[0]).all()
    panes = [
        [*pane_of(actor, iter(of), PAPER_RULES.action_names("pong"))]
        for actor, of in zip(actors, (shots[0][:2], shots[1][:5]), strict=True)
    ]
    together = [*side_by_side([iter(pane) for pane in panes])]
    assert len(together) == 20
    assert together[0].shape == (56 + 630 + 6 * 24 + 24, 2 * 480 + 8, 3)
    for number, picture in enumerate(together):
        assert (picture[:, 488:] == panes[1][number]).all()
        assert (picture[100:, :480] == (panes[0][number] if number < 8 else panes[0][-1] // 2)[100:]).all()


def test_bars_are_as_long_as_actions_are_likely():
    """Bars stand in the order of the actions, the taken one in another colour, 18 of them in two columns."""
    for count in (6, 18):
        shares = np.arange(1, count + 1) / sum(range(1, count + 1))
        picture = bars_of(shares, 2, [str(number) for number in range(count)])
        lengths = []
        for number in range(count):
            column, row = divmod(number, 9)
            width = 468 // (count // 9 or 1)
            line = picture[12 + 24 * row + 6, column * width : (column + 1) * width]
            color = (240, 136, 62) if number == 2 else (86, 180, 233)
            lengths.append((line == color).all(axis=1).sum())
        full = width - 12 - 118 - 44
        assert lengths == pytest.approx((shares * full + 1).tolist(), abs=1)


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["nothing"], "neither a file nor a shipped teacher"),
        (["BREAKOUT", "--epsilon", "1.5"], "epsilon is 1.5"),
        (["BREAKOUT", "--sticky", "-1"], "sticky is -1"),
        (["BREAKOUT", "--episodes", "0"], "episodes is 0"),
        (["BREAKOUT", "--max_frames", "0"], "max_frames is 0"),
        (["BREAKOUT", "--starts", "nowhere"], "no whole file of starts"),
        (["PONG", "--starts", "STARTS"], "starts of breakout; starts of pong are needed"),
        (["BREAKOUT", "--starts", "STARTS", "--sticky", "0.25"], "with recorded starts it must be 0"),
        (["BREAKOUT", "--starts", "STARTS", "--max_frames", "1"], "max_frames is 1 and must be above that"),
        (["BREAKOUT", "--teacher", "PONG"], "plays pong, not breakout"),
        (["BREAKOUT", "--video", "film.avi"], "must end in .mp4"),
        (["BREAKOUT", "--video", "film.mp4", "--sticky", "0.25"], "a video needs 0"),
        (["BREAKOUT", "--episode", "3"], "episode"),
        (["BREAKOUT", "--json", "."], "json is ., which is a folder; give a file"),
        (["BREAKOUT", "--max_frames", "1080001"], "max_frames is 1080001; it must be between 1 and 1080000"),
    ],
)
def test_mistakes_are_one_line(teachers, starts, args, reason, capsys):
    """Each mistake is one line and exit code 2, before any score is printed."""
    names = {"BREAKOUT": teachers["breakout"], "PONG": teachers["pong"], "STARTS": starts}
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *(names.get(arg, arg) for arg in args)])
    assert stop.value.code == 2
    streams = capsys.readouterr()
    assert reason in streams.err
    assert streams.err.count("\n") == 1
    assert streams.out == ""
