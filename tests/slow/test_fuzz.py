"""10,000 damaged files and configs: each is refused in one line or made again, none is half read.

Half of the files are damaged as a disk would do it. The other half are damaged within and sealed again, as if somebody
had written them so: they may be read where they still make sense.

    pytest -n 0 -m slow -s tests/slow
"""

import collections
import io
import json
import pickle
from contextlib import redirect_stderr

import cramjam
import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from distill.atari.cartridge import Cartridge
from distill.atari.starts import Start, Starts, screen_hash
from distill.cli import main
from distill.files.checkpoint import read_checkpoint, write_checkpoint
from distill.files.packing import HEADER
from distill.files.store import Store, seal, unseal
from distill.hours.hour import Hour
from distill.networks import build
from distill.replay import Steps
from distill.rollout import PlayState
from distill.tools.demo_file import read_demo
from distill.weights import files as weights
from distill.weights.best import BestNetworks, read_index, rounded
from distill.weights.files import save_network
from distill.weights.load import load_network
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

HOW = st.sampled_from(["flip", "cut", "put", "insert", "drop"])
DAMAGE = st.tuples(HOW, st.integers(0, 2**31), st.binary(min_size=1, max_size=8))
SECONDS = 30
"""Whatever takes longer counts as a hang, however busy the machine is."""
COUNTED = collections.Counter()


def cases(number: int):
    """Try so many, the same ones each time."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=number, deadline=SECONDS * 1000, derandomize=True, database=None, suppress_health_check=checks
    )


def damaged(content: bytes, damage: tuple[str, int, bytes]) -> bytes:
    """Change one bit, cut the end off, write something over a part or into it, or take a part out."""
    how, where, what = damage
    at = where % len(content)
    if how == "flip":
        return content[:at] + bytes([content[at] ^ (1 << what[0] % 8)]) + content[at + 1 :]
    if how == "cut":
        return content[:at]
    if how == "put":
        return content[:at] + what + content[at + len(what) :]
    if how == "insert":
        return content[:at] + what + content[at:]
    return content[:at] + content[at + len(what) :]


def refused(kind: str, read, *, sealed_again: bool = False) -> None:
    """Read what was damaged: a `ValueError` of one line, or, where it was sealed again, something whole."""
    try:
        read()
        message = ""
    except ValueError as error:
        message = str(error)
    assert sealed_again or message, f"a damaged {kind} was read"
    assert "\n" not in message
    COUNTED[f"{kind} refused" if message else f"{kind} that still made sense, read"] += 1


def repacked(content: bytes, damage: tuple[str, int, bytes]) -> bytes:
    """Damage what is packed, and pack it again."""
    return bytes(cramjam.zstd.compress(damaged(bytes(cramjam.zstd.decompress(content)), damage)))


@pytest.fixture(scope="module")
def start_file():
    cartridge = Cartridge("pong")
    actions = np.zeros(20, np.uint8)
    for action in actions.tolist():
        cartridge.act(action)
    return Starts("pong", "nobody", False, "none", (Start(actions, screen_hash(cartridge.screen)),)).to_bytes()


@cases(3000)
@given(damage=DAMAGE, within=st.booleans())
def test_start_files(start_file, tmp_path_factory, damage, within):
    """A damaged file of starts is refused."""
    path = tmp_path_factory.getbasetemp() / "fuzzed.starts"
    whole = seal(start_file)
    path.write_bytes(seal(repacked(start_file, damage)) if within else damaged(whole, damage))
    if path.read_bytes() != whole:
        refused("start file", lambda: Starts.load(path), sealed_again=within)


@pytest.fixture(scope="module")
def hour_file():
    steps = Steps.empty(6, 2, 3)
    for name in ("labels", "actions", "rewards", "ended", "first", "lost_life"):
        getattr(steps, name)[:] = 0
    position = PlayState(np.array([3, 4]), [np.array([1, 2]), np.zeros(0, np.int64)])
    return Hour(steps, position).to_bytes({"game": "freeway", "hour": 7})


@cases(3000)
@given(damage=DAMAGE, within=st.booleans())
def test_hour_files(hour_file, tmp_path_factory, damage, within):
    """A damaged hour is made again; one that was sealed again is refused, or has all its parts."""
    if within:
        refused("hour file", lambda: Hour.from_bytes(unseal(seal(repacked(hour_file, damage)))), sealed_again=True)
        return
    store, made = Store(tmp_path_factory.getbasetemp() / "fuzzed"), []
    store.folder.mkdir(exist_ok=True)
    store.path("hour").write_bytes(content := damaged(seal(hour_file), damage))
    with redirect_stderr(io.StringIO()) as said:
        found = store.get("hour", lambda: made.append(1) or hour_file, Hour.from_bytes)
    store.close()
    assert made or content == seal(hour_file)
    assert bool(made) == ("is damaged" in said.getvalue())
    assert (found.position.numbers.tolist(), len(found.steps)) == ([3, 4], 6)
    COUNTED["hour file made again"] += bool(made)


@pytest.fixture(scope="module")
def weight_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "pong.safetensors"
    save_network(path, build("net3", num_actions=6), {"game": "pong", "score": [1, 2]}, torch.float16)
    return path.read_bytes()


@cases(3000)
@given(damage=DAMAGE, within=st.sampled_from(["file", "beginning", "header"]))
def test_weight_files(weight_file, tmp_path_factory, damage, within):
    """A damaged weight file is refused, whether in its header or in its numbers."""
    path = tmp_path_factory.getbasetemp() / "fuzzed.safetensors"
    if within == "header":
        size = int.from_bytes(weight_file[:8], "little")
        text = json.loads(weight_file[8 : 8 + size])["__metadata__"][HEADER]
        header = damaged(text.encode(), damage).decode(errors="replace")
        tensors = load(weight_file)
        metadata = {HEADER: header, weights.CHECKSUM: weights._checksum(header, tensors)}
        path.write_bytes(save(tensors, metadata))
    elif within == "beginning":
        path.write_bytes(damaged(weight_file[:2000], damage) + weight_file[2000:])
    else:
        path.write_bytes(damaged(weight_file, damage))
    if path.read_bytes() != weight_file:
        refused("weight file", lambda: load_network(str(path), "pong"), sealed_again=within == "header")


@cases(400)
@given(damage=DAMAGE)
def test_checkpoints(tmp_path_factory, damage):
    """A damaged checkpoint is refused, or nothing of what it holds is damaged."""
    path = tmp_path_factory.getbasetemp() / "fuzzed.ckpt"
    write_checkpoint(path, {"weight": torch.arange(6.0), "epoch": 3})
    path.write_bytes(damaged(path.read_bytes(), damage))

    def read() -> None:
        found = read_checkpoint(path)
        assert (found["weight"].tolist(), found["epoch"]) == ([0, 1, 2, 3, 4, 5], 3)

    refused("checkpoint", read, sealed_again=True)


@pytest.fixture(scope="module")
def teachers_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    writer = BestNetworks(folder, "pong", 0)
    for hour in range(3):
        writer.scored(hour, float(hour), rounded(build("net3", num_actions=6)), {"game": "pong"})
    writer.close()
    return folder, (folder / "best" / "index.json").read_bytes()


@cases(300)
@given(damage=DAMAGE)
def test_indices_of_best_networks(teachers_run, damage):
    """A damaged index is refused, or says what it said."""
    folder, whole = teachers_run
    path = folder / "best" / "index.json"
    path.write_bytes(whole)
    index = read_index(folder)
    path.write_bytes(damaged(whole, damage))
    try:
        same = read_index(folder) == index
    except ValueError:
        COUNTED["index refused"] += 1
    else:
        assert same
        COUNTED["index read as it was"] += 1


@pytest.fixture(scope="module")
def demo_file():
    arrays = [np.arange(100, dtype=np.uint8)] * 3
    content = {"actions": [index % 6 for index in range(600)], "rewards": [0.0] * 600, "checkpoints": arrays}
    return pickle.dumps(content | {"lives": [np.float64(3)] * 600}, protocol=3)


@cases(1000)
@given(damage=DAMAGE)
def test_recordings_of_atari_demo(demo_file, tmp_path_factory, damage):
    """A damaged `.demo` file, which has no checksum, is refused, or gives frames that make sense."""
    path = tmp_path_factory.getbasetemp() / "Pong.demo"
    path.write_bytes(damaged(demo_file, damage))

    def read() -> None:
        assert all(0 <= row.action < 18 for row in read_demo(path)[1])

    refused("recording", read, sealed_again=True)


JUNK = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers()))


@cases(300)
@given(damage=DAMAGE, junk=JUNK, within=st.booleans())
def test_configs(tmp_path_factory, capfd, damage, junk, within):
    """A damaged config, or one with a value that is nonsense, is taken or refused in one line with code 2."""
    text = (ROOT / "conf" / "compress.yaml").read_bytes()
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    if within:
        content = yaml.safe_load(text)
        section = [content, content["trainer"], content["model"]["init_args"], content["data"]["init_args"]]
        chosen = section[damage[1] % len(section)]
        chosen[list(chosen)[damage[1] % len(chosen)]] = junk
        path.write_text(yaml.safe_dump(content))
    else:
        path.write_bytes(damaged(text, damage))
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(path), "--print_config"])
    out, err = capfd.readouterr()
    if stop.value.code in (0, None):
        assert "seed_everything" in out
        COUNTED["config that still made sense, taken"] += 1
    else:
        assert (stop.value.code, out, err[:7], err.count("\n")) == (2, "", "error: ", 1), err
        COUNTED["config refused"] += 1


def test_figures():
    """What became of all cases."""
    print("\n" + "\n".join(f"{what}: {number:,}" for what, number in sorted(COUNTED.items())))
    print(f"damaged inputs: {sum(COUNTED.values()):,}")
