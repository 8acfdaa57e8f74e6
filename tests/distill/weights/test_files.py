"""Weight files: what goes in comes out, and nothing else gets in."""

import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from distill.networks import DQN, build
from distill.weights.files import HEADER, save_network
from distill.weights.load import load_network, load_teacher

PONG = {"game": "pong", "score": 18.5, "settings": {"rates": [0.25, 1e-3], "name": "naïve"}, "notes": None}


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, DQN]:
    torch.manual_seed(0)
    network = build("net3", num_actions=6)
    path = tmp_path / "pong.safetensors"
    save_network(path, network, PONG)
    return path, network


def test_round_trip(saved):
    """Weights come back bit for bit, ready to play and not to be trained by accident."""
    path, network = saved
    loaded, _ = load_network(str(path))
    assert loaded.widths == network.widths
    assert loaded.state_dict().keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_equal_networks_give_equal_files(saved):
    """What is in the header stands there in one order, each time it is written."""
    path, network = saved
    files = set()
    for _ in range(20):
        save_network(path, network, PONG)
        files.add(path.read_bytes())
    (file,) = files
    header = json.loads(file[8 : 8 + int.from_bytes(file[:8], "little")])
    assert list(header["__metadata__"]) == sorted(header["__metadata__"])


def test_half_precision(tmp_path):
    """Half precision halves the file and rounds each weight once; what is loaded is float32 again."""
    network = build("net3", num_actions=6)
    save_network(tmp_path / "full", network, PONG)
    save_network(tmp_path / "half", network, PONG, torch.float16)
    loaded, _ = load_network(str(tmp_path / "half"))
    for name, tensor in network.state_dict().items():
        assert loaded.state_dict()[name].dtype == torch.float32
        assert torch.equal(loaded.state_dict()[name], tensor.half().float()), name
    assert (tmp_path / "half").stat().st_size == pytest.approx((tmp_path / "full").stat().st_size / 2, rel=0.02)


def test_header(saved):
    """The header comes back as it was given, with the network's shape and input."""
    header = load_network(str(saved[0]))[1]
    assert {name: header[name] for name in PONG} == PONG
    assert header["widths"] == [16, 16, 16, 64]
    assert header["num_actions"] == 6
    assert header.keys() - PONG.keys() == {"widths", "num_actions", "input"}


def test_a_header_of_one_game_out_of_several(tmp_path):
    """What a file lists for each of its games is said of the one that is asked for."""
    games = {"pong": 6, "breakout": 4}
    trained = {"hours": 3, "teacher": ["a", "b"]}
    said = {"score": [{"mean": 1.0}, {"mean": 2.0}], "actions": [["NOOP"] * 6, ["NOOP"] * 4], "trained": trained}
    path = str(tmp_path / "both")
    save_network(Path(path), build("multi3", num_actions=games), {"game": list(games), **said})
    header = load_network(path, "breakout")[1]
    assert (header["game"], header["score"], header["actions"]) == ("breakout", {"mean": 2.0}, ["NOOP"] * 4)
    assert header["trained"] == {"hours": 3, "teacher": "b"}


def refuse(path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load_network(str(path))


def test_a_missing_file(tmp_path):
    """A file that is not there, or is a folder, is refused by name."""
    refuse(tmp_path / "nothing.safetensors")
    refuse(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"PK\x03\x04" + bytes(100), b"\xff" * 100])
def test_not_safetensors(tmp_path, content):
    """Other files are refused by name."""
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    refuse(path)


class Intruder:
    """Unpickling it makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_pickles_are_not_opened(tmp_path, write):
    """A pickle is refused and none of its code is run."""
    path, trace = tmp_path / "teacher.pt", tmp_path / "trace"
    write({"weight": Intruder(trace)}, path)
    refuse(path)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Intruder(trace)))  # the trap works
    assert trace.exists()


@pytest.mark.parametrize("size", [4, 500, 100_000, -1])
def test_a_cut_file(saved, size):
    """A file of ours that was cut anywhere is refused by name."""
    path, _ = saved
    path.write_bytes(path.read_bytes()[:size])
    refuse(path)


@pytest.mark.parametrize(
    ("change", "metadata"),
    [
        (lambda tensors: {"weight": torch.zeros(3)}, {"game": "pong"}),  # foreign
        (lambda tensors: tensors | {"fc9.bias": torch.zeros(3)}, {"game": "pong"}),
        (lambda tensors: {name: tensors[name] for name in tensors if name != "conv2.weight"}, {"game": "pong"}),
        (lambda tensors: tensors | {"conv2.weight": tensors["conv2.weight"][:, :8].contiguous()}, {"game": "pong"}),
        (lambda tensors: tensors | {"conv2.bias": torch.zeros(8)}, {"game": "pong"}),
        (lambda tensors: tensors | {"conv2.bias": torch.tensor(1.0)}, {"game": "pong"}),
        (lambda tensors: tensors, None),
        (lambda tensors: tensors, {}),
        (lambda tensors: tensors, ["pong"]),
    ],
    ids=["foreign", "more", "fewer", "shape", "width", "scalar", "no header", "no game", "odd header"],
)
def test_not_ours(saved, change, metadata):
    """A sound file whose tensors or header are not those of a network of ours is refused by name."""
    path, _ = saved
    tensors = change(load_file(path))
    save_file(tensors, path, None if metadata is None else {HEADER: json.dumps(metadata)})
    refuse(path)


def test_teacher(saved):
    """A teacher plays its own game with all of its actions, and is refused for any other."""
    path, network = saved
    teacher, header = load_teacher(str(path), "pong")
    assert header["game"] == "pong"
    assert torch.equal(teacher.out.weight, network.out.weight)
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}.* plays pong, not breakout"):
        load_teacher(str(path), "breakout")
    six = path.with_name("six.safetensors")
    save_network(six, build("net3", num_actions=6), {"game": "breakout"})
    with pytest.raises(ValueError, match=rf"{re.escape(str(six))}.* has 6 actions; breakout has 4"):
        load_teacher(str(six), "breakout")


def test_a_changed_file_is_noticed(tmp_path):
    """A flipped bit in a weight, and another number in the header, are told by the checksum."""
    path = tmp_path / "one.safetensors"
    save_network(path, build("net3", num_actions=6), {"game": "pong", "score": 18.5})
    whole = path.read_bytes()
    for damaged in (whole[:-1] + bytes([whole[-1] ^ 1]), whole.replace(b"18.5", b"19.5")):
        assert damaged != whole
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="its checksum is wrong"):
            load_network(str(path))
