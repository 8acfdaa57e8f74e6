"""`python -m distill export`: a network as a file for others to run, checked against the one it came from."""

import io
import itertools
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from distill import checks
from distill.atari.rules import PAPER_RULES, EnvRules
from distill.engine import frozen_policy, module_policy
from distill.errors import DistillError
from distill.evaluation import EvalConfig, games_for, steps_of
from distill.files.packing import HEADER
from distill.files.store import write_atomically
from distill.networks import DQN, count_parameters
from distill.rollout import Policy
from distill.weights.callables import CallableNetwork
from distill.weights.digests import digest
from distill.weights.files import INPUT, network_bytes
from distill.weights.hub import pinned
from distill.weights.load import find_weights, load_network, load_playing, load_teacher
from distill.weights.onnx_files import open_onnx, to_onnx

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2", "safetensors": ".safetensors"}
OBSERVATIONS = 1000
ENVIRONMENTS = 8
ENOUGH_EQUAL = 0.99


def export(
    weights: str,
    format: Literal["onnx", "torch", "safetensors"] = "onnx",
    out: str | None = None,
    game: str | None = None,
    teacher: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write a network of one game as a file of its own, and check it.

    It takes uint8 observations of any number and gives a score for each legal action; pixels are scaled inside. The
    file's metadata names the game, the actions, the preprocessing and the weights it came from. It is read back and
    asked about 1,000 real observations, beside the network.

    Args:
        weights: A shipped teacher's name, a weight file, here or as `hf:owner/name` on the Hugging Face hub, or a run's
            checkpoint.
        format: `onnx`; `torch`, which `torch.export.load` reads; or `safetensors`, for one game of several.
        out: The file; by default in the working directory, named after `weights` and the game.
        game: Which, of a network that plays several.
        teacher: Whom to show beside it: as `weights`.
        overwrite: Whether a file that exists may be replaced.
    """
    weights, teacher = pinned(weights), pinned(teacher) if teacher else None
    network, header = load_teacher(weights, game)
    game, source = header["game"], find_weights(weights)
    if format != "torch" and not isinstance(network, DQN):
        raise DistillError(
            f"{weights} has a network of its own, {network.name}; only those of distill.networks go into {format}; "
            "--format torch takes any"
        )
    other = load_playing(teacher, game).network if teacher else None
    name = source.stem if game in source.stem else f"{source.stem}-{game}"
    path = Path(out or name + SUFFIXES[format])
    if path.suffix != SUFFIXES[format]:
        raise DistillError(f"out is {path}; as {format} it must end in {SUFFIXES[format]}")
    checks.output("out", path, source, find_weights(teacher) if teacher else None, overwrite=overwrite)
    content = packed(network, described(network, header), format)
    rows = [NetworkRow("network", network, content, format)]
    if other is not None:
        rows.append(NetworkRow("teacher", other, packed(other, {"game": game}, format), format))
    observations = observations_of(network, game, EnvRules.of(header))
    parity(rows[0], observations)
    write_atomically(path, content)
    print_networks(rows, observations[:1])
    print(f"written: {path}")


class NetworkRow:
    """A network, and the file that was made of it.

    Args:
        name: For the table.
        network: As it was.
        content: The file that it became.
        format: Of the file.
    """

    def __init__(self, name: str, network: DQN | CallableNetwork, content: bytes, format: str) -> None:
        self.name, self.network, self.content, self.format = name, network, content, format
        self.policies = {"PyTorch": module_policy(network), NAMES[format]: READERS[format](content)}


def described(network: DQN | CallableNetwork, header: dict[str, Any]) -> dict[str, Any]:
    """Describe a network, whatever file it came from."""
    game, env = header["game"], EnvRules.of(header)
    said = ["kind", "protocol", "trained", "imported", "score", "rules"]
    kept = {name: header[name] for name in said if name in header}
    return {
        "game": game,
        "actions": env.action_names(game),
        "input": INPUT,
        **env.preprocessing,
        **kept,
        "digest": digest(network),
    }


def packed(network: DQN | CallableNetwork, header: dict[str, Any], format: str) -> bytes:
    """Return a network as the content of a file."""
    if format == "onnx" and isinstance(network, DQN):
        return to_onnx(network, header)
    if format == "safetensors" and isinstance(network, DQN):
        return network_bytes(network, header)
    shapes = {"observations": {0: torch.export.Dim("batch")}}
    content = io.BytesIO()
    example = torch.zeros(2, 4, 84, 84, dtype=torch.uint8)  # of one observation, 1 would be taken for a constant
    program = torch.export.export(network, (example,), dynamic_shapes=shapes)
    torch.export.save(program, content, extra_files={HEADER: json.dumps(header)})
    return content.getvalue()


def load_program(content: bytes) -> tuple[Policy, dict[str, Any]]:
    """Return the policy in what `torch.export` wrote here, and its header. A program runs: load none of strangers.

    Raises:
        ValueError: for anything else.
    """
    said = {HEADER: ""}
    try:
        program = torch.export.load(io.BytesIO(content), extra_files=said)
        return module_policy(program.module()), json.loads(said[HEADER])
    except Exception as error:  # whatever PyTorch's reader raises
        raise DistillError(f"no torch.export of this project ({str(error).splitlines()[0]})") from error


def _load_safetensors(content: bytes) -> Policy:
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(content)
        file.flush()
        return frozen_policy(load_network(file.name)[0])


NAMES = {"onnx": "ONNX Runtime", "torch": "torch.export", "safetensors": "safetensors"}
READERS: dict[str, Callable[[bytes], Policy]] = {
    "onnx": lambda content: open_onnx(content)[0],
    "torch": lambda content: load_program(content)[0],
    "safetensors": _load_safetensors,
}


def observations_of(network: DQN | CallableNetwork, game: str, env: EnvRules = PAPER_RULES) -> np.ndarray:
    """Play until 1,000 observations have been seen, at epsilon 0.05."""
    episodes = EvalConfig(game, tuple(range(ENVIRONMENTS)), seed=0, env=env)
    seen: list[np.ndarray] = []
    with closing(games_for(episodes)) as games:
        for step in itertools.islice(steps_of(frozen_policy(network), episodes, games), OBSERVATIONS // ENVIRONMENTS):
            seen.append(step.observations.copy())
    return np.concatenate(seen)


def parity(row: NetworkRow, observations: np.ndarray) -> None:
    """Print how a file's answers differ from those of the network it came from.

    Raises:
        ValueError: where it chooses another action more than once in a hundred times.
    """
    ours, theirs = (policy(observations) for policy in row.policies.values())
    equal = float((ours.argmax(1) == theirs.argmax(1)).mean())
    if equal < ENOUGH_EQUAL:
        raise DistillError(
            f"the file chooses other actions than the network, in {1 - equal:.1%} of cases; none is written"
        )
    largest = float(np.abs(ours - theirs).max())
    print(f"{len(observations):,} observations: largest difference {largest:.1e}, equal greedy actions {equal:.1%}")


def print_networks(rows: list[NetworkRow], observation: np.ndarray) -> None:
    """Print sizes and latencies, of one observation on the CPU."""
    table = Table()
    for column in ("", "parameters", "run by", "size", "forward, 1 observation"):
        table.add_column(column, justify="right" if column in ("parameters", "size") else "left")
    for row in rows:
        sizes = [sum(weights.nbytes for weights in row.network.state_dict().values()), len(row.content)]
        for (runner, policy), size in zip(row.policies.items(), sizes, strict=True):
            first = runner == "PyTorch"
            named = (row.name, f"{count_parameters(row.network):,}") if first else ("", "")
            table.add_row(*named, runner, f"{size / 1e6:.2f} MB", f"{milliseconds(policy, observation):.2f} ms")
    Console(highlight=False).print(table)


def milliseconds(policy: Policy, observation: np.ndarray) -> float:
    """Measure an answer: the median of 100."""
    times = []
    for _ in range(120):
        start = time.perf_counter()
        policy(observation)
        times.append(time.perf_counter() - start)
    return float(np.median(times[20:])) * 1000
