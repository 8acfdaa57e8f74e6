"""A dataset in a teacher's place: what is learned from it, what is said of it, and what is refused."""

import json
import shutil
from pathlib import Path

import h5py
import minari
import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file
from same import same_steps

from distill.cli import main
from distill.data import ReplayDataModule
from distill.hours.chain import chain_of, steps_in
from distill.hours.dataset_play import RecordedTeacher

SMALL = ("--config", "compress", "--config", "debug", "--model.network", "net3", "--trainer.limit_val_batches", "0")
HOURS = 3


def fit(run: Path, teacher: str, *args: str, hours: int = HOURS, game: str = "pong") -> Path:
    """Distil for some short hours."""
    named = ["--data.game", game, "--data.teacher", teacher, "--run_dir", str(run)]
    main(["fit", *SMALL, *named, "--data.memory_hours", "1", "--trainer.max_epochs", str(hours), *args])
    return run


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, make_teacher) -> Path:
    """The folder of a run of three hours that were played; beside it, as `data`sets/pong-v0, what was played."""
    folder = tmp_path_factory.mktemp("recorded")
    fit(folder / "run", make_teacher("pong"))
    main(["export-hours", str(folder / "run"), "--out", str(folder), "--name", "pong-v0"])
    return folder


def weights_in(run: Path) -> dict[str, np.ndarray]:
    return load_file(run / "student.safetensors")


def same_weights_in(one: Path, other: Path) -> bool:
    ours, theirs = weights_in(one), weights_in(other)
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_any_stretch_is_read_as_it_was_played(recorded):
    """Whatever steps are asked for, across episodes and hours, they are those of the hours, to the last bit."""
    steps = steps_in(chain_of(recorded / "run"))
    teacher = RecordedTeacher(str(recorded / "pong-v0"), "pong")
    assert (teacher.length, teacher.num_envs) == (360, 2)
    for times in (range(360), range(120), range(90, 250), range(359, 360)):
        assert same_steps(teacher.steps(times), steps[times.start : times.stop])


def test_a_student_learns_the_same_as_beside_the_teacher(recorded, tmp_path, capsys):
    """From a dataset a student gets the weights, bit for bit, that it had of the hours; it is scored alone."""
    run = fit(tmp_path / "run", str(recorded / "pong-v0"))
    assert same_weights_in(run, recorded / "run")
    assert "teacher" not in capsys.readouterr().out
    scores = json.loads((run / "scores.json").read_text())
    assert scores.keys() == {"game", "protocol", "student", "recorded"}
    assert not (run / "hours").exists()


def test_a_run_goes_on_to_the_same_bits(recorded, tmp_path, monkeypatch, capsys):
    """A run that ended after two hours, and goes on from another folder for a third, ends as one that never stopped."""
    shutil.copytree(recorded / "pong-v0", tmp_path / "pong-v0")
    monkeypatch.chdir(tmp_path)
    fit(tmp_path / "run", "pong-v0", hours=2)
    assert not same_weights_in(tmp_path / "run", recorded / "run")
    monkeypatch.chdir(recorded)
    main(["fit", "--resume", str(tmp_path / "run"), "--trainer.max_epochs", "3"])
    assert same_weights_in(tmp_path / "run", recorded / "run")


def test_a_run_goes_on_with_its_dataset_alone(recorded, tmp_path, capsys):
    """Where another dataset, or a teacher, is in the place of what was learned from, the run is refused in one line."""
    main(["export-hours", str(recorded / "run"), "--out", str(tmp_path), "--hours", "2", "--name", "late-v0"])
    alone = fit(tmp_path / "run", str(recorded / "pong-v0"), hours=1)
    late, beside = str(tmp_path / "late-v0"), recorded / "run"
    for run, teacher, message in (
        (alone, late, "is not what this run has learned from"),
        (alone, "pong", "this run has learned from a dataset"),
        (beside, late, "is not what this run has learned from"),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main(["fit", "--resume", str(run), "--data.teacher", teacher, "--trainer.max_epochs", "2"])
        err = capsys.readouterr().err
        assert message in err
        assert sum(line.startswith("error") for line in err.splitlines()) == 1


def test_minari_finds_it_by_its_id(recorded, monkeypatch):
    """`minari:ID` is the dataset of that id where Minari keeps them."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(recorded))
    data = ReplayDataModule("pong", "minari:pong-v0", num_envs=2, hour_steps=240)
    assert data.teachers["pong"].length == 360


def test_several_games_may_have_one_of_each(recorded, make_teacher, tmp_path, capsys):
    """With two games, one of a dataset and one of a teacher, the table has a dash for what nobody can score."""
    games = json.dumps({"pong": str(recorded / "pong-v0"), "breakout": make_teacher("breakout")})
    options = ["--data.game", games, "--run_dir", str(tmp_path / "run"), "--trainer.max_epochs", "2"]
    main(["fit", "--config", "multitask3", "--config", "debug", *options])
    out = capsys.readouterr().out
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())["games"]
    assert [sorted(of) for of in scores.values()] == [
        ["recorded", "student"],
        ["random", "random_adjusted_ratio", "ratio", "student", "teacher"],
    ]
    (row,) = (line for line in out.splitlines()[-12:] if "│ pong" in line)
    assert row.split("│")[2].strip() == "-"
    main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "report")])


def test_damage_is_found_when_it_is_read(recorded, tmp_path, capsys):
    """Bytes of a frame that were changed end the run in one line, with code 1; nothing wrong is learned."""
    damaged = tmp_path / "pong-v0"
    shutil.copytree(recorded / "pong-v0", damaged)
    path = damaged / "data" / "main_data.hdf5"
    with h5py.File(path) as file:
        chunk = file["episode_1/observations"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        fit(tmp_path / "run", str(damaged))
    assert stop.value.code == 1
    err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(err) == 1
    assert f"the dataset {damaged} cannot be read (OSError" in err[0]


def others(folder: Path, name: str, **infos: np.ndarray) -> str:
    """Write a dataset of two steps as others do."""
    storage = minari.dataset.minari_storage.MinariStorage.new(
        folder,
        observation_space=minari.utils.gym.spaces.Box(0, 255, (84, 84), np.uint8),
        action_space=minari.utils.gym.spaces.Discrete(6),
        jpeg_encoding=False,
    )
    arrays = {"observations": np.zeros((3, 84, 84), np.uint8), "actions": np.zeros(2, int), "rewards": np.zeros(2)}
    ends = {"terminations": np.array([False, True]), "truncations": np.zeros(2, bool)}
    storage.update_episodes([minari.data_collector.EpisodeBuffer(**arrays, **ends, infos=infos)])
    storage.update_metadata({"dataset_id": name, "minari_version": minari.__version__})
    return str(folder.parent)


def edited(folder: Path, copy: Path, **changes: object) -> str:
    """Copy a dataset, and change what its metadata say."""
    shutil.copytree(folder, copy)
    path = copy / "data" / "metadata.json"
    said = json.loads(path.read_text())
    said["distill"] |= changes
    path.write_text(json.dumps(said))
    return str(copy)


def test_refused_datasets(recorded, tmp_path, capsys, monkeypatch):
    """What cannot be learned from is refused in one line, before a run has a folder."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    whole = recorded / "pong-v0"
    for name in ("plain", "strange", "empty"):
        (tmp_path / name).mkdir()
    plain = others(tmp_path / "plain" / "data", "plain-v0")
    strange = others(tmp_path / "strange" / "data", "strange-v0", labels=np.zeros((2, 4), np.float32))
    (tmp_path / "empty" / "data").mkdir()
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    (cut / "data" / "main_data.hdf5").write_bytes((whole / "data" / "main_data.hdf5").read_bytes()[:-5000])
    unsaid = tmp_path / "unsaid"
    shutil.copytree(whole, unsaid)
    with h5py.File(unsaid / "data" / "main_data.hdf5", "a") as file:
        file["episode_1"].attrs["begins"] = 3
    dataset = str(whole)
    capsys.readouterr()
    for teacher, args, message in [
        (plain, [], "has no labels among its infos; give one that export-hours wrote"),
        (strange, [], "does not say how it was played; give one that export-hours wrote"),
        (str(tmp_path / "empty"), [], "empty cannot be read (ValueError: No data found"),
        (str(cut), [], "cut cannot be read (OSError"),
        (str(unsaid), [], "is not whole; give one that export-hours wrote"),
        (edited(whole, tmp_path / "kind", kind="moods"), [], "choose one of values, policy"),
        (edited(whole, tmp_path / "later", format=9), [], "does not say how it was played"),
        (edited(whole, tmp_path / "other", game="breakout"), [], "is of breakout, not pong; give one of pong"),
        (edited(whole, tmp_path / "policy", kind="policy"), [], "the teacher of pong is a policy"),
        (str(whole / "data"), [], "cannot be read (ValueError: The data path"),
        ("minari:none/pong-v0", [], "the dataset minari:none/pong-v0 cannot be read"),
        ("minari:../pong-v0", [], "is no dataset's id; give one such as distill/pong-v0"),
        (dataset, ["--data.game", "breakout"], "is of pong, not breakout; give one of breakout"),
        (dataset, ["--data.num_envs", "4"], "num_envs is 4; the dataset"),
        (dataset, ["--data.beta", "0.5"], "beta is below 1, but nobody plays"),
        (dataset, ["--data.lmbda", "0.5"], "lmbda is above 0, but nobody plays"),
        (dataset, ["--trainer.max_epochs", "4"], "max_epochs is 4, but the dataset"),
        (dataset, ["--trainer.max_epochs", "-1"], "holds 3 hours of 240 steps; it must be 3 or less"),
        (dataset, ["--data.hour_steps", "480"], "max_epochs is 3, but the dataset"),
    ]:
        with pytest.raises(SystemExit) as stop:
            fit(tmp_path / "run", teacher, *args)
        assert stop.value.code == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
        assert not (tmp_path / "run").exists()


def test_a_config_says_which_dataset(recorded, tmp_path):
    """The run's config has the dataset's whole path, so it is found from any folder."""
    run = fit(tmp_path / "run", str(recorded / "pong-v0"), hours=1)
    data = yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]
    assert data["teacher"] == str(recorded / "pong-v0")
