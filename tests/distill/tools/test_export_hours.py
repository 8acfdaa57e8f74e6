"""Recorded hours as a Minari dataset: every bit of them, as Minari's own loader reads it, and what is refused."""

import json
import sys
from contextlib import closing
from pathlib import Path

import minari
import numpy as np
import pytest
import torch

from distill.cli import main
from distill.files.store import Store
from distill.frames import decompress
from distill.hours.teacher_play import TeacherPlay
from distill.networks import build
from distill.replay import Steps
from distill.rollout import PlayConfig
from distill.schedule import Schedule
from distill.weights.digests import digest
from distill.weights.files import save_network

RULES = PlayConfig("breakout", 0, 0, 2, 400, Schedule.of(0.3), 640)
"""By which some episodes end before the frames do, and some with them."""


def played(folder: Path, hours: int, seed: int = 0) -> list[Steps]:
    """Record hours of an untrained teacher."""
    torch.manual_seed(seed)
    teacher = build("net3", num_actions=4).requires_grad_(False)
    save_network(folder.parent / f"teacher{seed}.safetensors", teacher, {"game": "breakout", "kind": "policy"})
    recording = TeacherPlay(RULES, teacher, Store(folder), memory_hours=hours, overlap=False, num_threads=2)
    with closing(recording):
        return [recording.hour(hour) for hour in range(hours)]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> tuple[Path, Steps]:
    """A folder of three hours, and what was played in them."""
    folder = tmp_path_factory.mktemp("recorded") / "store"
    return folder, Steps.joined(played(folder, 3))


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    """Where Minari keeps datasets."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    return tmp_path / "root"


def by_environment(dataset: minari.MinariDataset) -> list[list]:
    """Sort a dataset's episodes, each with its metadata."""
    metadata = dataset.storage.get_episode_metadata(range(len(dataset)))
    found = [[], []]
    for episode, of in zip(dataset, metadata, strict=True):
        found[of["environment"]].append((episode, of))
    return found


def test_minari_reads_every_bit(recorded, capsys):
    """Minari's loader gives frames, actions, rewards, ends and labels as the hours hold them, in each environment."""
    folder, steps = recorded
    main(["export-hours", str(folder)])
    assert "3 hours, 1,200 steps" in capsys.readouterr().out
    dataset = minari.load_dataset("distill/breakout-v0")
    assert dataset.total_steps == steps.ended.size
    for environment, episodes in enumerate(by_environment(dataset)):
        assert [of["begins"] for _, of in episodes] == [0, *(of["ends"] for _, of in episodes[:-1])]
        read = {
            "frames": [episode.observations[:-1] for episode, _ in episodes],
            "actions": [episode.actions for episode, _ in episodes],
            "rewards": [episode.rewards for episode, _ in episodes],
            "ended": [(one.terminations | one.truncations) & (not of["cut"]) for one, of in episodes],
            **{name: [one.infos[name] for one, _ in episodes] for name in ("labels", "lost_life", "first")},
        }
        for name, pieces in read.items():
            kept = getattr(steps, name)[:, environment]
            kept, found = decompress(kept) if name == "frames" else kept, np.concatenate(pieces)
            assert found.dtype == kept.dtype
            assert np.array_equal(found, kept)


def test_episodes_end_as_minari_has_it(recorded):
    """Each episode has one observation more than actions, its last frame again; its last step ends it, in one way."""
    folder, _ = recorded
    main(["export-hours", str(folder)])
    ways = set()
    for episodes in by_environment(minari.load_dataset("distill/breakout-v0")):
        for place, (episode, of) in enumerate(episodes):
            assert len(episode.observations) == len(episode) + 1
            assert np.array_equal(episode.observations[-1], episode.observations[-2])
            assert not (episode.terminations | episode.truncations)[:-1].any()
            assert episode.terminations[-1] != episode.truncations[-1]
            limited = len(episode) * 4 == RULES.max_frames
            assert episode.truncations[-1] == (limited or of["cut"])
            assert of["cut"] <= (place + 1 == len(episodes))
            ways.add("cut" if of["cut"] else "limited" if limited else "terminated")
    assert ways == {"cut", "limited", "terminated"}


def test_the_metadata_say_who_played_what(recorded, root):
    """Actions, preprocessing, rules, the teacher's digest and kind are in the dataset; the folder's path is not."""
    folder, _ = recorded
    teacher = folder.parent / "teacher0.safetensors"
    main(["export-hours", str(folder), "--teacher", str(teacher), "--name", "mine/first-v3"])
    text = (root / "mine" / "first-v3" / "data" / "metadata.json").read_text()
    said = minari.load_dataset("mine/first-v3").storage.metadata["distill"]
    assert said["actions"] == ["NOOP", "FIRE", "RIGHT", "LEFT"]
    assert said["preprocessing"]["stacked_frames"] == 4
    assert said["recorded_by"]["epsilon"] == [[0.0], [0.3]]
    torch.manual_seed(0)
    assert said["teacher_digests"] == [digest(build("net3", num_actions=4))]
    assert (said["teacher"], said["kind"]) == ("teacher0.safetensors", "policy")
    assert str(folder.parent) not in text


def test_of_several_plays_one_is_chosen(recorded, tmp_path, capsys):
    """A folder with two teachers' hours names the last hour of each; its file stands for those that lead to it."""
    folder, steps = recorded
    store = tmp_path / "store"
    second = Steps.joined(played(store, 2, seed=1))
    for path in folder.glob("*.hour"):
        (store / path.name).write_bytes(path.read_bytes())
    with pytest.raises(SystemExit):
        main(["export-hours", str(store)])
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "holds 2 plays" in err
    for number, kept, name in ((2, steps, "first-v0"), (1, second, "second-v0")):
        (path,) = (path for path in store.glob(f"*-{number:04}-*.hour") if path.name in err)
        main(["export-hours", str(path), "--name", name])
        dataset = minari.load_dataset(name)
        assert dataset.total_steps == kept.ended.size
        assert np.array_equal(dataset[0].infos["labels"], kept.labels[: len(dataset[0]), 0])


def test_the_last_hours_can_be_taken_alone(recorded):
    """`--hours 1` gives the last hour, whose first episodes began before it."""
    folder, steps = recorded
    main(["export-hours", str(folder), "--hours", "1", "--name", "last-v0"])
    dataset = minari.load_dataset("last-v0")
    assert dataset.total_steps == 400
    assert np.array_equal(dataset[0].infos["labels"], steps.labels[400 : 400 + len(dataset[0]), 0])
    assert not dataset[0].infos["first"][0]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_refused_exports(recorded, tmp_path, root, capsys, make_teacher):
    """What cannot be exported is refused in one line, and nothing is written."""
    folder, _ = recorded
    store = str(folder)
    main(["export-hours", store, "--name", "there-v0", "--hours", "1"])
    (tmp_path / "empty").mkdir()
    (root / "mine-v0").mkdir()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    path = next(folder.glob("*.hour"))
    (damaged / path.name).write_bytes(path.read_bytes()[:-1])
    capsys.readouterr()
    before = tree(tmp_path)
    for args, message in [
        ([str(tmp_path / "none")], "does not exist; give a folder of recorded hours"),
        ([str(tmp_path / "empty")], "holds no hours of a teacher; give a run's folder"),
        ([str(damaged)], "is damaged (its checksum is wrong); remove it"),
        ([str(folder.parent / "teacher0.safetensors")], "is damaged"),
        ([store, "--hours", "4"], "hours is 4; "),
        ([store, "--hours", "0"], "hours is 0; it must be 1 or more"),
        ([store, "--hours", "many"], "hours"),
        ([store, "--name", "pong"], "is no dataset's id; give one such as distill/pong-v0"),
        ([store, "--name", "../pong-v0"], "is no dataset's id; give one such as distill/pong-v0"),
        ([store, "--name", "there-v0"], "which exists; give another name, or --overwrite to replace it"),
        ([store, "--name", "mine-v0", "--overwrite"], "which is no dataset; give another out, or another name"),
        ([store, "--teacher", make_teacher("breakout", seed=5)], "has not played these hours"),
        ([store, "--teacher", "pong"], "pong"),
        ([store, "--format", "rlds"], "minari"),
        ([store, "--out", str(path)], path.name),
    ]:
        with pytest.raises(SystemExit):
            main(["export-hours", *args])
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
    assert tree(tmp_path) == before


def test_without_minari_it_says_what_to_install(recorded, root, monkeypatch, capsys):
    """Where a package is missing, one line says how to install it."""
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(SystemExit) as stop:
        main(["export-hours", str(recorded[0])])
    assert stop.value.code == 2
    assert capsys.readouterr().err.endswith('pip install "distill[minari]" installs it\n')
    assert not root.exists()


def test_an_export_that_breaks_off_changes_nothing(recorded, root, monkeypatch, capsys):
    """After Ctrl-C in the midst of writing, what was to be replaced is as before; a whole dataset replaces it."""
    folder, _ = recorded
    args = ["export-hours", str(folder), "--name", "there-v0", "--overwrite"]
    main([*args, "--hours", "1"])
    before = tree(root)
    written = []

    def interrupted(frames):
        written.append(len(frames))
        if len(written) == 3:
            raise KeyboardInterrupt
        return decompress(frames)

    with monkeypatch.context() as patch:
        patch.setattr("distill.hours.dataset.decompress", interrupted)
        with pytest.raises(SystemExit) as stop:
            main(args)
    assert stop.value.code == 130
    assert tree(root) == before
    assert sorted(path.name for path in root.iterdir()) == ["there-v0"]
    main(args)
    assert minari.load_dataset("there-v0").total_steps == 1200
    assert json.loads((root / "there-v0" / "data" / "metadata.json").read_text())["total_steps"] == 1200
