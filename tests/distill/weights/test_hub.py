"""Teachers from the Hugging Face hub, by a server that speaks as it does: the same bytes, whatever becomes of them."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import huggingface_hub
import pytest
import yaml
from same import same_weights
from stable_baselines3 import DQN as StableDQN
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import VecFrameStack

from distill.cli import main
from distill.weights.hub import hub_file, pinned
from distill.weights.load import find_weights, load_network, load_playing

ROOT = str(Path(__file__).parents[3])
SHORT = ["--config", "conf/compress.yaml", "--config", "conf/debug.yaml", "--trainer.max_epochs", "1"]
SHORT += ["--data.eval_episodes", "1", "--data.max_frames", "400", "--data.hour_steps", "240"]
FEW = ["--episodes", "1", "--max_frames", "400"]


class Hub:
    """Repositories, served as the hub serves them.

    Args:
        server: Which asks this.
    """

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.address = f"http://127.0.0.1:{server.server_port}"
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        """By repository and commit, what files there are; the last is `main`."""
        self.refused: dict[str, tuple[int, str]] = {}
        """By repository, a status and the hub's word for it, of those whose files nobody gets."""
        self.asked: list[str] = []

    def commit(self, repository: str, files: dict[str, bytes]) -> str:
        """Add a commit, and return its name."""
        commits = self.commits.setdefault(repository, {})
        name = hashlib.sha1(f"{repository} {len(commits)}".encode()).hexdigest()
        commits[name] = files
        return name

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        api, words = path.startswith("/api/models/"), path.removeprefix("/api/models/").strip("/").split("/")
        repository, rest = "/".join(words[:2]), words[3:]
        commits = self.commits.get(repository)
        if commits is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        revision = unquote(rest[0]) if rest else "main"
        commit = list(commits)[-1] if revision == "main" else revision
        if commit not in commits:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        files = commits[commit]
        if api:
            siblings = [{"rfilename": name} for name in files]
            return 200, {}, json.dumps({"id": repository, "sha": commit, "siblings": siblings}).encode()
        if repository in self.refused:
            status, code = self.refused[repository]
            return status, {"X-Error-Code": code}, b""
        name = unquote("/".join(rest[1:]))
        if name not in files:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b""
        return 200, {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(files[name]).hexdigest()}"'}, files[name]


class Handler(BaseHTTPRequestHandler):
    """Answers what `hub` says."""

    hub: Hub

    def do_GET(self) -> None:
        self.hub.asked.append(self.path)
        status, headers, body = self.hub.answer(self.path.partition("?")[0])
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub, and an empty cache of it."""
    handler = type("Answering", (Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        handler.hub = served = Hub(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        yield served
        server.shutdown()
        thread.join()
        huggingface_hub.close_session()


@pytest.fixture
def weights(make_teacher):
    """Two different networks for Pong, as files of ours."""
    return [Path(make_teacher("pong", seed=seed)).read_bytes() for seed in range(2)]


def refused(capsys, *args: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main([*args])
    assert stop.value.code in (1, 2)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def trained_by(run: Path) -> str:
    return load_network(str(run / "student.safetensors"))[1]["trained"]["teacher"]


def test_a_run_goes_on_with_the_bytes_that_it_began_with(hub, weights, workdir):
    """Config and header name file and commit, which what repeats or resumes the run takes again, asking nobody."""
    first = hub.commit("someone/pong", {"teacher.safetensors": weights[0], "README.md": b""})
    main(["fit", *SHORT, "--data.teacher", "hf:someone/pong", "--run_dir", "one"])
    name = f"hf:someone/pong/teacher.safetensors@{first}"
    config = yaml.safe_load(Path("one/config.yaml").read_text())
    assert config["data"]["init_args"]["teacher"] == trained_by(Path("one")) == name

    second = hub.commit("someone/pong", {"teacher.safetensors": weights[1]})
    hub.asked.clear()
    main(["fit", "--config", "one/config.yaml", "--run_dir", "again"])
    assert same_weights(*(load_network(f"{run}/student.safetensors")[0] for run in ("one", "again")))
    assert (Path("again") / "config.yaml").read_text() == Path("one/config.yaml").read_text()
    more = ["--trainer.max_epochs", "2", "--data.teacher", "hf:someone/pong"]  # as typed at first
    main(["fit", "--resume", "one", *more])
    assert trained_by(Path("one")) == name
    assert hub.asked == []
    assert load_playing("hf:someone/pong", "pong").name == f"hf:someone/pong/teacher.safetensors@{second}"


def test_several_games_and_what_a_network_begins_with(hub, make_teacher, weights, workdir):
    """Each of several games' teachers is pinned in the config, and so are the weights that a student begins with."""
    pong = hub.commit("someone/pong", {"teacher.safetensors": weights[0]})
    freeway = hub.commit("someone/freeway", {"best.safetensors": Path(make_teacher("freeway")).read_bytes()})
    games = "{pong: hf:someone/pong, freeway: hf:someone/freeway/best.safetensors}"
    multi = ["--data.game", games, "--data.teacher", "null", "--model.network", "multi3"]
    main(["fit", *SHORT, *multi, "--trainer.max_epochs", "2", "--run_dir", "both"])
    data = yaml.safe_load(Path("both/config.yaml").read_text())["data"]["init_args"]
    named = [f"hf:someone/pong/teacher.safetensors@{pong}", f"hf:someone/freeway/best.safetensors@{freeway}"]
    assert data["game"] == dict(zip(("pong", "freeway"), named, strict=True))

    begins = ["--model.network", "net3", "--model.pretrained", "hf:someone/pong"]
    main(["fit", *SHORT, *begins, "--data.teacher", "pong", "--run_dir", "begun"])
    model = yaml.safe_load(Path("begun/config.yaml").read_text())["model"]["init_args"]
    assert model["pretrained"] == named[0]


def test_an_agent_as_rl_zoo_publishes_it(hub, workdir, capsys):
    """Nothing beside an agent of Stable-Baselines3 is taken for it; `import-teacher` keeps where it is from."""
    games = VecFrameStack(make_atari_env("PongNoFrameskip-v4"), 4)
    StableDQN("CnnPolicy", games, buffer_size=10).save("agent.zip")
    games.close()
    commit = hub.commit(
        "sb3/dqn-PongNoFrameskip-v4",
        {
            "dqn-PongNoFrameskip-v4.zip": Path("agent.zip").read_bytes(),
            "dqn-PongNoFrameskip-v4/policy.pth": b"",
            "train_eval_metrics.zip": b"",
            "config.yml": b"",
        },
    )
    main(["import-teacher", "hf:sb3/dqn-PongNoFrameskip-v4", "--game", "pong", "--out", "new.safetensors", *FEW])
    network, header = load_network("new.safetensors")
    assert header["imported"]["file"] == f"hf:sb3/dqn-PongNoFrameskip-v4/dqn-PongNoFrameskip-v4.zip@{commit}"
    assert same_weights(network, load_network("agent.zip", "pong")[0])
    assert "dqn-PongNoFrameskip-v4.zip: pong" in capsys.readouterr().out


def test_evaluate_and_export_take_and_name_it(hub, weights, workdir, capsys):
    """Scores say which commit they are of, the table only the file; `export` names its file after it."""
    commit = hub.commit("someone/pong", {"teacher.safetensors": weights[0]})
    main(["evaluate", "hf:someone/pong", "--teacher", "hf:someone/pong", "--json", "scores.json", *FEW])
    scores, name = json.loads(Path("scores.json").read_text()), f"hf:someone/pong/teacher.safetensors@{commit}"
    assert (scores["weights"], scores["teacher"]["weights"]) == (name, name)
    assert commit not in capsys.readouterr().out
    main(["export", "hf:someone/pong", "--format", "safetensors"])
    assert same_weights(load_network("teacher-pong.safetensors")[0], load_network(name)[0])
    main(["draw-starts", name, "--out", "pong.starts", "--episodes", "2", "--count", "2", "--max_frames", "2000"])


def test_what_is_in_the_cache_needs_no_hub(hub, weights, tmp_path):
    """A pinned file plays offline, from HF_HOME; a name that is not pinned is told what is there."""
    commit = hub.commit("someone/pong", {"teacher.safetensors": weights[0]})
    name = f"hf:someone/pong/teacher.safetensors@{commit}"
    command = [sys.executable, "-m", "distill", "evaluate", *FEW]
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": ROOT}
    environment.pop("HF_HUB_CACHE", None)

    def ask(source: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, source], env=environment | more, capture_output=True, text=True, cwd=tmp_path)

    first = ask("hf:someone/pong")
    assert first.returncode == 0, first.stderr
    hub.commit("someone/pong", {"teacher.safetensors": weights[1]})
    offline = ask(name, HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr
    assert offline.stdout == first.stdout
    unknown = ask("hf:someone/pong", HF_HUB_OFFLINE="1")
    assert unknown.returncode == 1
    assert "offline mode is enabled" in unknown.stderr
    assert f"; in the cache is {name}, which needs no network" in unknown.stderr
    assert "Traceback" not in unknown.stderr


def test_without_a_network(hub, weights, monkeypatch, capsys, workdir):
    """A hub that refuses, is not found or says nothing is told in one line, without trying for minutes."""
    commit = hub.commit("someone/pong", {"teacher.safetensors": weights[0]})
    assert pinned("hf:someone/pong") == f"hf:someone/pong/teacher.safetensors@{commit}"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 1)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as silent:  # takes calls, and never answers
        for address in (f"http://127.0.0.1:{silent.server_port}", "http://127.0.0.1:1", "http://nowhere.invalid"):
            monkeypatch.setenv("HF_ENDPOINT", address)
            for asked in ("hf:someone/pong", f"hf:other/pong/teacher.safetensors@{commit}"):
                asked_at = time.monotonic()
                line = refused(capsys, "evaluate", asked)
                assert f"{asked}: no answer from the hub (" in line
                assert time.monotonic() - asked_at < 20  # trying as the library does takes more than 23
            assert load_playing(f"hf:someone/pong/teacher.safetensors@{commit}", "pong").kind == "values"
    assert "no answer from the hub" in refused(capsys, "fit", *SHORT, "--data.teacher", "hf:someone/pong/x.zip")
    assert not (workdir / "runs").exists()


def test_mistakes(hub, weights, workdir, capsys):
    """What is not there, not to be had, or not clear is said in one line, and no run begins."""
    commit = hub.commit("someone/pong", {"teacher.safetensors": weights[0], "agent.zip": b"", "README.md": b""})
    hub.commit("someone/empty", {"README.md": b"", "agent.bin": b""})
    hub.commit("someone/gated", {"teacher.safetensors": weights[0]})
    hub.commit("someone/broken", {"teacher.safetensors": weights[0][:1000]})
    hub.commit("someone/down", {"teacher.safetensors": weights[0]})
    hub.refused = {"someone/gated": (403, "GatedRepo"), "someone/down": (418, "")}
    for source, message in [
        ("hf:", "'hf:' names nothing on the Hugging Face hub; give hf:owner/name"),
        ("hf:pong", "give hf:owner/name or hf:owner/name/file"),
        ("hf:someone/pong/../../x@" + "0" * 40, "names nothing on the Hugging Face hub"),
        ("hf:someone/" + "x" * 200, "hf:someone/x"),
        ("hf:someone/" + "-x", "hf:someone/-x"),
        ("hf:nobody/pong", "hf:nobody/pong is not there, or private; for a private one log in with `hf auth login`"),
        ("hf:someone/gated", "hf:someone/gated is gated; ask for access on its page"),
        ("hf:someone/pong@v9", "hf:someone/pong has no revision v9; give a branch, a tag or a commit"),
        ("hf:someone/pong", "has 2 files that may be meant; name one: teacher.safetensors, agent.zip"),
        (
            "hf:someone/pong/best.zip",
            "no such file; files that may be meant are teacher.safetensors, agent.zip",
        ),
        (f"hf:someone/pong/{'x' * 300}.zip@{commit}", "there is no such file"),
        ("hf:someone/empty", "has no file that ends in .safetensors, .zip, .cleanrl_model, .gz"),
        ("hf:someone/empty/agent.bin", "no weight file of this project, nor one of another library"),
        ("hf:someone/broken", "hf:someone/broken/teacher.safetensors@"),
        ("hf:someone/down", "hf:someone/down: the hub answers 418, "),
    ]:
        assert message in refused(capsys, "evaluate", source), source
        assert message in refused(capsys, "fit", *SHORT, "--data.teacher", source), source
    assert not (workdir / "runs").exists()


def test_a_cache_that_cannot_be_written(hub, weights, monkeypatch, workdir, capsys):
    """It is named in one line."""
    hub.commit("someone/pong", {"teacher.safetensors": weights[0]})
    Path("file").touch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(workdir / "file" / "cache"))
    assert "hf:someone/pong cannot be kept in the cache: [Errno 20]" in refused(capsys, "evaluate", "hf:someone/pong")


def test_without_the_package(hub, weights, tmp_path):
    """One line says what to install; all else works."""
    (tmp_path / "huggingface_hub.py").write_text("raise ImportError")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), ROOT])}
    command = [sys.executable, "-m", "distill", "evaluate", "hf:someone/pong"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    said = 'error: hf:someone/pong needs the package huggingface_hub; pip install "distill[hub]" installs it'
    assert done.stderr.splitlines()[-1] == said


def test_a_revision_is_another_commit(hub, weights, workdir):
    """A commit that is asked for is taken, though it is not the newest; the cache keeps both."""
    commits = [hub.commit("someone/pong", {"teacher.safetensors": content}) for content in weights]
    assert pinned(f"hf:someone/pong@{commits[0]}") == f"hf:someone/pong/teacher.safetensors@{commits[0]}"
    assert [hub_file(f"hf:someone/pong@{commit}").read_bytes() for commit in commits] == weights
    assert find_weights("hf:someone/pong").read_bytes() == weights[1]
    shutil.rmtree(workdir / "cache")
    assert find_weights(f"hf:someone/pong/teacher.safetensors@{commits[0]}").read_bytes() == weights[0]
