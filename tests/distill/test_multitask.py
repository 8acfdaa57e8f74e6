"""Several games in one network: counts, whose weights move, whose turn it is, and what comes out of it."""

import itertools
import json

import numpy as np
import pytest
import torch

from distill.atari.cartridge import num_actions
from distill.atari.environments import Atari
from distill.cli import main
from distill.data import ReplayDataModule
from distill.hours.experience import turns
from distill.networks import build, count_parameters
from distill.replay import Memory
from distill.student import StudentModule
from distill.summary import geometric_mean
from distill.teacher import TeacherModule
from distill.weights.files import save_network
from distill.weights.load import load_network, load_teacher
from tests.distill.test_data import fit

THREE = {"freeway": 3, "pong": 6, "qbert": 6}


@pytest.fixture
def two(make_teacher) -> dict[str, str]:
    return {game: make_teacher(game) for game in ("freeway", "pong")}


def observations(rows: int = 4) -> torch.Tensor:
    return torch.randint(0, 256, (rows, 4, 84, 84), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "actions", "parameters"),
    [
        ("multi3", {"freeway": 3, "pong": 3, "qbert": 6}, 1_882_668),
        ("multi3", THREE, 1_883_055),
        ("multi10", dict(zip("abcdefghij", [9, 4, 9, 3, 9, 3, 6, 18, 18, 6], strict=True)), 6_756_721),
        ("multi10", dict(zip("abcdefghij", [9, 4, 9, 3, 9, 6, 6, 18, 18, 6], strict=True)), 6_757_108),
    ],
)
def test_parameters(name, actions, parameters):
    """The networks have the paper's sizes, with the paper's actions and with today's; what is shared counts once."""
    assert count_parameters(build(name, num_actions=actions)) == parameters


@pytest.mark.parametrize("module", [StudentModule, TeacherModule])
def test_a_minibatch_moves_the_trunk_and_its_own_head(module, two, small):
    """An hour of one game's play moves what is shared and that game's head, and leaves the other head as it was."""
    learner = module(["freeway", "pong"], network="multi3")
    before = {name: weights.clone() for name, weights in learner.network.state_dict().items()}
    sources = two if module is StudentModule else dict.fromkeys(two)
    fit(learner, ReplayDataModule(sources, **small), hours=1)  # the first hour is Freeway's
    moved = {name for name, now in learner.network.state_dict().items() if not torch.equal(now, before[name])}
    pongs_own = {name for name in before if name.startswith(("games.pong.controller", "games.pong.out"))}
    assert moved == set(before) - pongs_own


def test_a_head_has_its_games_actions(two, small, monkeypatch):
    """Each game is played with its own legal actions, and each head learns labels of its own width."""
    widths, played = set(), {}
    send = Atari.send

    def watched(games, actions):
        played[games.game] = max(played.get(games.game, 0), int(actions.max()))
        return send(games, actions)

    class Watching(StudentModule):
        def loss(self, batch):
            widths.add((batch.game, self(batch.observations, batch.game).shape[1], batch.labels.shape[1]))
            return super().loss(batch)

    monkeypatch.setattr(Atari, "send", watched)
    fit(Watching(list(two), network="multi3"), ReplayDataModule(two, epsilon=1.0, **small), limit_val_batches=1.0)
    assert widths == {("freeway", 3, 3), ("pong", 6, 6)}
    assert played == {"freeway": 2, "pong": 5}


class Played(Memory):
    """A memory of so many steps, in episodes of such a length."""

    def __init__(self, steps: int, episode_steps: float) -> None:
        self.steps, self.episode = steps, episode_steps

    def __len__(self) -> int:
        return self.steps

    @property
    def episode_steps(self) -> float:
        return self.episode


def test_games_are_drawn_alike():
    """Minibatches are of all games that were played, equally often, and of no other."""
    games = {"a": Played(9, 1.0), "b": Played(0, 1.0), "c": Played(5, 1.0), "d": Played(1, 1.0)}
    drawn = list(itertools.islice(turns(games, "minibatch", np.random.default_rng(0), 1.0), 9000))
    counts = {game: drawn.count(game) for game in games}
    assert counts.pop("b") == 0
    # 9,000 draws among three: 3,000 each, standard deviation 44.7; beyond 5.5 of these with probability 3 x 4e-8.
    assert all(abs(count - 3000) < 5.5 * 44.7 for count in counts.values())


def test_games_change_with_the_episode():
    """In turn, each game has as many updates as belong to one of its episodes, at least one."""
    games = {"a": Played(9, 10.0), "b": Played(0, 1.0), "c": Played(9, 20.0), "d": Played(9, 0.1)}
    for hour, expected in enumerate(("aaccccdaaccccd", "ccccdaaccccdaa", "daaccccdaacccc", "aaccccdaaccccd")):
        order = itertools.islice(turns(games, "episode", np.random.default_rng(0), 0.2, hour), 14)
        assert "".join(order) == expected


@pytest.mark.parametrize("interleave", ["minibatch", "episode"])
def test_one_game_of_several_is_one_game(make_teacher, small, interleave):
    """A student of several games that has but one learns from the rows of a student of one, in their order."""

    class Watching(StudentModule):
        def loss(self, batch):
            seen[-1].append((batch.observations, batch.labels))
            return super().loss(batch)

    seen = []
    for game in ("pong", {"pong": make_teacher("pong")}):
        seen.append([])
        several = isinstance(game, dict)
        data = ReplayDataModule(game, None if several else make_teacher("pong"), interleave=interleave, **small)
        fit(Watching(["pong"], network="multi3") if several else Watching("pong"), data)
    assert len(seen[0]) == len(seen[1]) == 16
    for one, other in zip(*seen, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_teachers_take_turns_and_hours_that_are_there_are_not_played(two, small, monkeypatch):
    """Hour by hour another game is played, in one store; a second run plays nothing and ends in the same bits."""
    steps = []
    send = Atari.send
    monkeypatch.setattr(Atari, "send", lambda games, actions: steps.append(games.game) or send(games, actions))
    students = []
    for overlap in (False, True):
        torch.manual_seed(0)
        students.append(StudentModule(list(two), network="multi3"))
        fit(students[-1], ReplayDataModule(two, overlap=overlap, **small), hours=3)
        assert [game for game, _ in itertools.groupby(steps)] == ["freeway", "pong", "freeway"]
        assert len(steps) == 3 * 60
    first, second = (student.state_dict() for student in students)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_that_goes_on_remembers_what_it_knew(two, small, tmp_path):
    """Resumed after three hours, the memories of both games hold what they held, and the run ends in the same bits."""
    torch.manual_seed(0)
    whole = StudentModule(list(two), network="multi3")
    fit(whole, ReplayDataModule(two, **small), hours=4)
    torch.manual_seed(0)
    parts = StudentModule(list(two), network="multi3")
    fit(parts, ReplayDataModule(two, **small), hours=3).save_checkpoint(tmp_path / "three.ckpt")
    again = StudentModule(list(two), network="multi3")
    fit(again, ReplayDataModule(two, **small), hours=4, ckpt_path=tmp_path / "three.ckpt")
    expected, found = whole.state_dict(), again.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_multi_dqn_plays_its_games_in_turn(small):
    """Without teachers one network plays all games, a piece of an hour each in turn, into a memory for each."""
    data = ReplayDataModule({"freeway": None, "pong": None}, **{**small, "refills_per_hour": 2, "warmup_steps": 40})
    fit(TeacherModule(["freeway", "pong"], network="multi3", target_updates=4), data)
    assert {game: len(of.memory) for game, of in data.experiences.items()} == {"freeway": 160, "pong": 160}


def test_one_game_of_a_file_is_the_network_for_that_game(tmp_path):
    """A file of several games holds what they share once; each game comes out as it went in, and goes on alone."""
    network = build("multi3", num_actions=THREE)
    save_network(tmp_path / "all.safetensors", network, {"game": list(THREE)})
    assert (tmp_path / "all.safetensors").stat().st_size < 4 * 1_883_055 + 10_000
    seen = observations()
    for game in THREE:
        alone, header = load_network(str(tmp_path / "all.safetensors"), game)
        assert header["game"] == game
        assert torch.equal(alone(seen), network(seen, game))
        save_network(tmp_path / "one.safetensors", alone, header)
        teacher, _ = load_teacher(str(tmp_path / "one.safetensors"), game)
        assert torch.equal(teacher(seen), network(seen, game))
    for game, reason in ((None, "plays freeway, pong, qbert; say which game"), ("breakout", "not breakout")):
        with pytest.raises(ValueError, match=reason):
            load_network(str(tmp_path / "all.safetensors"), game)


def test_a_head_of_another_size_is_refused(tmp_path):
    """A network whose head does not fit the game's legal actions is no teacher."""
    save_network(tmp_path / "all", build("multi3", num_actions={**THREE, "pong": 3}), {"game": list(THREE)})
    with pytest.raises(ValueError, match="has 3 actions; pong has 6"):
        ReplayDataModule({"freeway": str(tmp_path / "all"), "pong": str(tmp_path / "all")})


@pytest.mark.parametrize(
    ("game", "more", "reason"),
    [
        ({}, {}, "game is empty"),
        ({"pong": "pong"}, {"teacher": "pong"}, "each has its own"),
        ({"pong": "pong", "breakout": None}, {}, "breakout has no teacher"),
        ({"breakout": "pong"}, {}, "plays pong, not breakout"),
        ({"pongg": "pong"}, {}, "game 'pongg' is unknown"),
    ],
)
def test_bad_games_are_refused(game, more, reason):
    """No game, a teacher beside several, a teacher missing or of another game: one line each."""
    with pytest.raises(ValueError, match=reason):
        ReplayDataModule(game, **more)


def test_a_network_of_one_game_does_not_play_several():
    """The networks that do are named; an unknown game asks for none."""
    with pytest.raises(ValueError, match="'net3' plays one game, not freeway, pong; choose one of multi3, multi10"):
        StudentModule(["freeway", "pong"], network="net3")
    with pytest.raises(ValueError, match="no game"):
        StudentModule([], network="multi3")
    with pytest.raises(ValueError, match="game 'breakout' is unknown; choose one of freeway, pong"):
        StudentModule(["freeway", "pong"], network="multi3")(observations(), "breakout")


def test_several_games_on_several_devices_need_their_strategy(workdir, capsys):
    """With plain DDP, which fails at the second update, one line says what to take, before the run has a folder."""
    args = ["--config", "conf/multitask3.yaml", "--config", "conf/debug.yaml"]
    with pytest.raises(SystemExit):
        main(["fit", *args, "--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"])
    assert "it must be ddp_find_unused_parameters_true" in capsys.readouterr().err
    assert not (workdir / "runs").exists()


def test_two_teachers_for_one_game_are_refused(workdir, capsys):
    """A game that a config names twice is refused in one line."""
    (workdir / "twice.yaml").write_text("data: {init_args: {game: {pong: pong, pong: other}}}\n")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "conf/multitask3.yaml", "--config", "twice.yaml"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "twice.yaml names pong twice" in error
    assert error.count("\n") == 1


def test_geometric_mean():
    """It is the mean of logarithms, and nothing where a ratio is missing or not above 0."""
    assert geometric_mean([0.5, 2.0]) == pytest.approx(1.0)
    assert geometric_mean([4.0, 1.0, 2.0]) == pytest.approx(2.0)
    assert [geometric_mean(ratios) for ratios in ([], [1.0, None], [1.0, 0.0], [1.0, -2.0])] == [None] * 4


def test_a_run_scores_each_game(workdir, two, capsys):
    """`fit` leaves one file for all games, each game's scores beside its teacher's, and their geometric means."""
    games = [f"--data.game={json.dumps(two)}", "--model.network=multi3", "--data.teacher=null"]
    main(["fit", "--config", "conf/compress.yaml", "--config", "conf/debug.yaml", *games, "--run_dir", "run"])
    out = capsys.readouterr().out
    assert out.count("geometric mean") == 2  # during the run, and at its end
    scores = json.loads((workdir / "run" / "scores.json").read_text())
    assert scores["parameters"] == count_parameters(build("multi3", num_actions={"freeway": 3, "pong": 6}))
    for game in two:
        found = scores["games"][game]
        assert found["student"]["episodes"] == found["teacher"]["episodes"] == 1
        network, header = load_network("run/student.safetensors", game)
        assert (network.num_actions, header["game"]) == (num_actions(game), game)
        # It was taught to choose as its teacher does, not what that values actions at; as a teacher it is a policy.
        assert header["kind"] == load_network("run/checkpoints/last.ckpt", game)[1]["kind"] == "policy"
    main(["evaluate", "run/student.safetensors", "--game", "pong", "--episodes", "1", "--max_frames", "400"])
    main(["evaluate", "run/checkpoints/last.ckpt", "--game", "freeway", "--episodes", "1", "--max_frames", "400"])
    assert "pong: " in capsys.readouterr().out


def test_a_network_of_several_games_must_be_told_which():
    """With several games the network must be told; with one it need not."""
    seen = observations()
    assert StudentModule(["pong"], network="multi3")(seen).shape == (4, 6)
    with pytest.raises(ValueError, match="game '' is unknown; choose one of freeway, pong"):
        StudentModule(["freeway", "pong"], network="multi3")(seen)


def test_several_processes_draw_by_chance(two, workdir, capsys):
    """How long episodes are, each process would estimate from its own play; so `episode` is refused."""
    options = ["--config", "conf/multitask3.yaml", "--data.game", json.dumps(two), "--data.interleave", "episode"]
    with pytest.raises(SystemExit):
        main(["fit", *options, "--trainer.devices=2", "--trainer.strategy=ddp_find_unused_parameters_true"])
    assert "with 2 processes it must be minibatch" in capsys.readouterr().err
