"""What the tests share: small runs on real games, and a teacher to run them with."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from distill.atari.cartridge import num_actions as legal_count
from distill.networks import build
from distill.protocol import NOOP_SCORES
from distill.weights.best import BestNetworks, rounded
from distill.weights.files import save_network

ROOT = Path(__file__).parent.parent

# Networks and minibatches are tiny here: a second thread would mostly wait for the first.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_teacher(tmp_path_factory):
    """Write an untrained teacher for a game and return its path."""

    def make(game: str, network: str = "net3", num_actions: int | None = None, seed: int = 0) -> str:
        torch.manual_seed(seed)
        path = tmp_path_factory.mktemp("teacher") / f"{game}.safetensors"
        save_network(path, build(network, num_actions=num_actions or legal_count(game)), {"game": game})
        return str(path)

    return make


@pytest.fixture(scope="session")
def make_online_teacher(tmp_path_factory):
    """Write the folder of a teacher's run that keeps its best networks, here one that is untrained, and return it."""

    def make(game: str) -> str:
        folder = tmp_path_factory.mktemp("run")
        writer = BestNetworks(folder, game, 0)
        writer.scored(0, 0.0, rounded(build("net3", num_actions=legal_count(game))), {"game": game})
        writer.end()
        writer.close()
        return str(folder)

    return make


def _write_run(
    folder: Path,
    scores: dict[str, tuple[float, float]],
    *,
    network: str = "dqn",
    loss: str | None = "kl",
    seed: int = 0,
    hours: int = 5,
    parameters: int = 1_693_362,
    **options: object,
) -> Path:
    games = list(scores)
    init = {"network": network} | ({"loss_name": loss, "temperature": 0.01} if loss else {})
    init |= {name: value for name, value in options.items() if name in (*init, "jsd_beta")}
    hour = {"hour_steps": 54_000, "updates_per_hour": 10_000, "beta": 1.0}
    hour |= {name: value for name, value in options.items() if name in (*hour, "lmbda")}
    of = {"game": games[0], "teacher": games[0]} if len(games) == 1 else {"game": {game: game for game in games}}
    name = "student.StudentModule" if loss else "teacher.TeacherModule"
    config = {
        "seed_everything": seed,
        "trainer": {"max_epochs": hours, "callbacks": None, "precision": None},
        "model": {"class_path": options.get("module", f"distill.{name}"), "init_args": init},
        "data": {"init_args": {**of, **hour, "seed": seed, "eval_episodes": 30}},
    }

    def player(mean: float) -> dict:
        return {"mean": mean, "interval95": [mean - 1, mean + 1], "episodes": 30, "parameters": parameters}

    found = {}
    for game, (own, teacher) in scores.items():
        taught = {"teacher": {**player(teacher), "parameters": 1_693_362}, "student": player(own)}
        found[game] = {**taught, "random": NOOP_SCORES[game].random} if loss else {"teacher": player(own)}
    protocol = {"protocol": "no-op starts, epsilon 0.05, at most 108,000 frames"}
    alone = {"game": games[0], **protocol, **found[games[0]]}
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    whole = alone if len(games) == 1 else {**protocol, "parameters": parameters, "games": found}
    (folder / "scores.json").write_text(json.dumps(whole))
    return folder


@pytest.fixture(scope="session")
def write_run():
    """Write what a run leaves, as far as reports read it, with scores that are made up: own and teacher's, by game."""
    return _write_run


@pytest.fixture
def stand_ins(make_teacher, make_online_teacher):
    """Give arguments that put small untrained teachers where a config names several games', or another run."""

    def arguments(config: Path) -> list[str]:
        data = yaml.safe_load(config.read_text())["data"]["init_args"]
        games = data["game"]
        if str(data.get("teacher")).startswith("runs/"):
            return [f"--data.teacher={make_online_teacher(games)}"]
        wanted = {game for game, teacher in games.items() if teacher} if isinstance(games, dict) else set()
        return [f"--data.game.{game}={make_teacher(game)}" for game in sorted(wanted - {"pong"})]

    return arguments


@pytest.fixture
def small(tmp_path) -> dict:
    """The data module's arguments for an hour of seconds."""
    return {
        "store": str(tmp_path / "hours"),
        "hour_steps": 120,
        "updates_per_hour": 8,
        "block_updates": 4,
        "batch_size": 8,
        "num_envs": 2,
        "max_frames": 400,
        "eval_episodes": 1,
    }


@pytest.fixture
def workdir(tmp_path, monkeypatch) -> Path:
    """An empty working directory that sees the repository's conf/."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    monkeypatch.chdir(tmp_path)
    return tmp_path
