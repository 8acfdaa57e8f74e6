"""The best networks of a learning teacher: what is kept, and who may write and read."""

import json

import lightning as L
import pytest
import torch

from distill.data import ReplayDataModule
from distill.evaluation import EvalConfig
from distill.networks import build
from distill.teacher import TeacherModule
from distill.weights.best import BEST_INDEX, FOLDER, BestNetworks, read_index, read_network, rounded
from distill.weights.files import shipped
from distill.weights.load import load_playing
from tests.distill.test_data import fit


def network(seed: int = 0):
    torch.manual_seed(seed)
    return rounded(build("net3", num_actions=6))


@pytest.fixture
def best(tmp_path):
    writer = BestNetworks(tmp_path, "pong", 0)
    yield writer
    writer.close()


def test_only_better_networks_are_kept(best, tmp_path):
    """A network is kept if its score is above all before it; the best of an hour is the last one up to there."""
    for hour, score in ((0, -21.0), (2, -20.0), (4, -20.0), (6, -20.5), (8, 3.0)):
        assert best.scored(hour, score, network(hour), {"game": "pong"}) == (hour in (0, 2, 8))
        best.advance(hour + 1)
    index = read_index(tmp_path)
    assert (index.hours, index.ended) == (9, False)
    assert [index.best(hour).hour for hour in (0, 1, 2, 7, 8, 100)] == [0, 0, 2, 2, 8, 8]
    assert len(list((tmp_path / FOLDER).glob("*.safetensors"))) == 3
    kept = read_network(tmp_path, index.best(8), "pong")
    assert all(torch.equal(kept.state_dict()[name], weights) for name, weights in network(8).state_dict().items())
    best.end()
    assert read_index(tmp_path).ended


def test_what_is_known_of_an_hour_stays(best, tmp_path):
    """A run that goes on from an earlier hour does not put the clock back."""
    best.scored(0, -21.0, network(), {"game": "pong"})
    best.advance(5)
    best.close()
    again = BestNetworks(tmp_path, "pong", 3)
    assert [again.is_new(hours) for hours in (4, 5, 6)] == [False, False, True]
    again.advance(4)
    again.close()
    assert read_index(tmp_path).hours == 5


def test_there_is_one_writer(best, tmp_path):
    """Another writer is refused, and so is a new run in the folder of an old one, or one of another game."""
    with pytest.raises(ValueError, match="another run is writing"):
        BestNetworks(tmp_path, "pong", 0)
    best.scored(0, -21.0, network(), {"game": "pong"})
    best.advance(2)
    best.close()
    for game, hour in (("pong", 0), ("breakout", 2)):
        with pytest.raises(ValueError, match="is of another run"):
            BestNetworks(tmp_path, game, hour)


def test_damaged_files_are_named(best, tmp_path):
    """An index that is none, and one that names a missing or other network, are refused."""
    for hour, score in ((0, -21.0), (1, 0.0)):
        best.scored(hour, score, network(hour), {"game": "pong"})
    index = read_index(tmp_path)
    first, second = (tmp_path / FOLDER / entry.file for entry in index.entries)
    second.write_bytes(first.read_bytes())
    with pytest.raises(ValueError, match=r"hour0001.safetensors is not the network that .*index.json names"):
        read_network(tmp_path, index.best(1), "pong")
    first.unlink()
    with pytest.raises(ValueError, match=r"hour0000\.safetensors"):
        load_playing(str(tmp_path), "pong")
    path = tmp_path / FOLDER / BEST_INDEX
    for content in ("", "[]", json.dumps({"game": "pong", "hours": 3, "ended": False, "entries": []})):
        path.write_text(content)
        with pytest.raises(ValueError, match="is no index of best networks"):
            read_index(tmp_path)


def test_a_folder_plays_with_its_first_network(best, tmp_path):
    """A run's folder stands for the network it began with; one without an index, or of another game, is refused."""
    with pytest.raises(ValueError, match="first start its teacher"):
        load_playing(str(tmp_path), "pong")
    best.scored(0, -21.0, network(3), {"game": "pong"})
    best.scored(1, 2.0, network(4), {"game": "pong"})
    loaded = load_playing(str(tmp_path), "pong")
    assert torch.equal(loaded.network.out.weight, network(3).out.weight)
    assert (loaded.file.name, loaded.kind) == ("hour0000.safetensors", "values")
    with pytest.raises(ValueError, match="is a teacher of pong, not breakout"):
        load_playing(str(tmp_path), "breakout")


def test_a_shipped_name_is_no_folder(workdir):
    """A folder of a shipped teacher's name does not take its place."""
    (workdir / "pong").mkdir()
    assert load_playing("pong", "pong").file == shipped()["pong"]


def test_a_learning_teacher_keeps_its_best(small, tmp_path, monkeypatch):
    """It scores itself at the beginning and every so many hours, and says when it has ended."""
    scores = iter([-21.0, -20.0, -20.5])
    monkeypatch.setattr(EvalConfig, "score", lambda *of: torch.full((2,), next(scores)).numpy())
    teacher = TeacherModule("pong", network="net3", score_every_hours=2)
    fit(teacher, ReplayDataModule("pong", **small), hours=5, default_root_dir=tmp_path)
    index = read_index(tmp_path)
    assert [(entry.hour, entry.score) for entry in index.entries] == [(0, -21.0), (2, -20.0)]
    assert (index.hours, index.ended) == (5, True)


def test_one_game_at_a_time():
    """Several games have no one score to be best in."""
    with pytest.raises(ValueError, match="of 2 games it must be null"):
        TeacherModule(["pong", "freeway"], network="multi3", score_every_hours=1)
    for hours in (-1, 0):
        with pytest.raises(ValueError, match=f"score_every_hours is {hours}; it must be 1 or more"):
            TeacherModule("pong", network="net3", score_every_hours=hours)


def test_who_learns_on_has_not_ended(best, tmp_path):
    """A run that goes on after its end is waited for again."""
    best.scored(0, -21.0, network(), {"game": "pong"})
    best.end()
    best.close()
    again = BestNetworks(tmp_path, "pong", 3)
    assert read_index(tmp_path).ended
    again.begin()
    again.close()
    assert not read_index(tmp_path).ended


class Enough(L.Callback):
    """Ends a run in the midst of its second hour."""

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        trainer.should_stop = trainer.current_epoch == 1


def test_a_teacher_that_is_stopped_early_has_ended(small, tmp_path, monkeypatch):
    """Whatever ends a teacher's run before its last hour, its students do not wait for more."""
    monkeypatch.setattr(EvalConfig, "score", lambda *of: torch.zeros(2).numpy())
    teacher = TeacherModule("pong", network="net3", score_every_hours=1)
    fit(teacher, ReplayDataModule("pong", **small), hours=5, default_root_dir=tmp_path, callbacks=[Enough()])
    assert read_index(tmp_path).ended


def test_a_changed_index_is_noticed(best, tmp_path):
    """Another score in the index of best networks is told by the checksum."""
    best.scored(0, -21.0, network(), {"game": "pong"})
    path = tmp_path / FOLDER / BEST_INDEX
    path.write_text(path.read_text().replace("-21.0", "21.0"))
    with pytest.raises(ValueError, match="its checksum is wrong"):
        read_index(tmp_path)
