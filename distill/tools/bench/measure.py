"""`python -m distill bench`: how fast this machine plays, learns and remembers, beside what it could do at best.

Each rate is a median over repetitions that take turns with those they are compared to, so that whatever else the
machine does hits all alike. A ratio is the median over rounds, each of which compares two turns. Learning takes turns
block by block: where `fit` has done one, its rivals do theirs before it goes on. Everything is bounded by time: a
slower machine does less, not longer.
"""

import importlib.util
import tempfile
from contextlib import closing
from json import dumps
from pathlib import Path
from typing import Any

import torch

from distill import checks, protocol
from distill.atari.environments import usable_cores
from distill.errors import DistillError
from distill.files.store import write_atomically
from distill.networks import DQN, PRESETS
from distill.precision import native_bf16
from distill.replay import Memory, Steps
from distill.tools.bench.buffers import compare_buffers
from distill.tools.bench.evaluating import evaluations
from distill.tools.bench.learning import Learning, checkpointing, four_temperatures, hours_an_hour
from distill.tools.bench.machine import machine
from distill.tools.bench.peers import StableBaselines3
from distill.tools.bench.playing import Playing
from distill.tools.bench.tables import print_rates
from distill.tools.bench.turns import Budget, Rate, Turn, take_turns
from distill.weights.load import load_network

NETWORKS = ("dqn", "net1", "net2", "net3")
"""The paper's."""
SMALLEST = NETWORKS[-1]
NUM_ENVS = {"cpu": 30, "cuda": 60}
"""Environments of play, by where networks are."""
BUFFERED_GAMES = ("pong", "ms_pacman")
PEERS = ("stable_baselines3", "sb3_extra_buffers", "zstd")
"""What `--peers` needs."""
PART_SECONDS = {
    "setting up": 10.0,
    "play": 30.0,
    "learning dqn": 16.0,
    "learning dqn in bf16-mixed": 8.0,
    "learning net1": 9.0,
    "learning net1 in bf16-mixed": 6.0,
    "learning net2": 7.0,
    "learning net2 in bf16-mixed": 5.0,
    "learning net3": 7.0,
    "learning net3 in bf16-mixed": 5.0,
    "play and learning": 18.0,
    "buffers of pong": 8.0,
    "buffers of ms_pacman": 8.0,
    "evaluation": 36.0,
    "evaluation in bf16-mixed": 20.0,
    "four temperatures": 24.0,
}
"""Of each part. On a slow machine parts do less; those that cannot do little enough take from those after them."""


def parts_of(*, bf16: bool, peers: bool, on_gpu: bool) -> dict[str, float]:
    """List the parts that are measured, and the seconds of each."""
    left_out = [
        *(name for name in PART_SECONDS if "bf16" in name and not bf16),
        *(name for name in PART_SECONDS if name.startswith(("evaluation", "buffers")) and not peers),
        # On a GPU hours are whole ones, and the play is far shorter than what begins a run.
        *(["four temperatures"] if on_gpu else []),
    ]
    return {name: seconds for name, seconds in PART_SECONDS.items() if name not in left_out}


def measure(game: str, teacher: str, with_peers: bool, budget: Budget) -> dict[str, Any]:
    """Measure all parts, and return rates, sizes and ratios by name."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    num_envs = NUM_ENVS[device.type]
    budget.begin("setting up", needed=True)
    network, _ = load_network(teacher, game)
    check_layers(network)
    peer = StableBaselines3(game, network) if with_peers else None
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Playing(game, network.to(device), num_envs, Path(folder), budget.seconds / 5)) as playing,
    ):
        turns = playing.turns()
        if peer is not None:
            turns["play, SB3 in 8 environments"] = Turn(peer.play, weight=2)
        budget.begin("play", needed=True)
        found = take_turns(turns, budget)
        found["play, ceiling"] = playing.ceiling(found)
        disk_bytes = playing.file_bytes / playing.hour_steps * protocol.STEPS_PER_HOUR
        steps = Steps.joined(playing.collected)

    memory = remembering(game, network.num_actions, steps, None)
    learned = memory if device.type == "cpu" else remembering(game, network.num_actions, steps, device)
    for name in NETWORKS:
        budget.begin(f"learning {name}", needed=True)
        learning = Learning(game, teacher, name, learned, device, budget)
        rates = learning.rates(budget, sampling=name == SMALLEST)
        if budget.begin(f"learning {name} in bf16-mixed"):
            rates |= learning.mixed_rates(budget)
        found |= {f"{name}, {what}": rate for what, rate in rates.items()}

    def ratios(of: str, to: str) -> dict[str, float]:
        pairs = {name: (found.get(f"{name}, {of}"), found.get(f"{name}, {to}")) for name in NETWORKS}
        return {name: one.over(other) for name, (one, other) in pairs.items() if one and other}

    figures: dict[str, Any] = {
        "num_envs": num_envs,
        "bytes_per_state": memory.nbytes / len(memory),
        "disk_bytes_per_hour": disk_bytes,
        "play_over_ceiling": found["play, ours"].over(found["play, ceiling"]),
        "fit_over_bare": ratios("fit", "bare"),
        "fit_over_plain": ratios("fit", "plain"),
        "fit_bf16_over_plain": ratios("fit, bf16-mixed", "plain beside bf16-mixed"),
        "sample_over_update": found[f"{SMALLEST}, fit"].over(found[f"{SMALLEST}, sampling"]),
        "checkpoint_share": checkpointing(game),
    }
    speeds = found["play, ours"].median, found[f"{SMALLEST}, fit"].median
    budget.begin("play and learning", needed=True)
    figures["hours_an_hour"], figures["waits_for_play"] = hours_an_hour(game, teacher, num_envs, speeds, budget)
    if peer is not None:
        figures["play_over_sb3"] = found["play, ours"].over(found["play, SB3 in 8 environments"])
        figures["bytes_sb3_over_ours"] = peer.bytes_per_state / figures["bytes_per_state"]
        figures |= buffers(speeds[0], found, budget)
        if budget.begin("evaluation"):
            figures |= evaluations(peer, network, teacher, speeds[0], budget)
    if budget.begin("four temperatures"):
        figures["sharing_over_ideal"] = four_temperatures(game, teacher, num_envs, speeds, budget)
    figures["rates"] = {
        name: {"median": each.median, "low": min(each.turns), "high": max(each.turns)} for name, each in found.items()
    }
    return figures


def check_layers(network: DQN) -> None:
    """Refuse a teacher that rivals do not have: one of other layers than `dqn`, or more of them.

    Raises:
        ValueError: for such a one.
    """
    if (network.widths, network.controller, network.atoms) != (PRESETS["dqn"], None, None):
        raise DistillError(f"the teacher has {network.shape}; what it is compared with has the layers of dqn")


def remembering(game: str, num_actions: int, steps: Steps, device: torch.device | None) -> Memory:
    """Make a memory of steps; see `Memory`."""
    memory = Memory(len(steps), steps.frames.shape[1], num_actions, game, device)
    memory.extend(steps)
    return memory


def buffers(rate: float, found: dict[str, Rate], budget: Budget) -> dict[str, Any]:
    """Compare buffers, game by game; add rates to those found, and return bytes and ratios."""
    figures: dict[str, dict[str, Any]] = {"buffer_bytes": {}, "bytes_extra_over_ours": {}, "sample_over_extra": {}}
    for game in BUFFERED_GAMES:
        if not budget.begin(f"buffers of {game}"):
            continue
        rates, sizes = compare_buffers(game, rate, budget)
        found |= {f"{game}, {name}": rate for name, rate in rates.items()}
        figures["buffer_bytes"][game] = sizes
        figures["bytes_extra_over_ours"][game] = sizes["sb3-extra-buffers"] / sizes["ours"]
        figures["sample_over_extra"][game] = rates["ours"].over(rates["sb3-extra-buffers"])
    return figures


def bench(
    game: str = "pong",
    teacher: str | None = None,
    peers: bool = False,
    json: str | None = None,
    overwrite: bool = False,
) -> None:
    """Measure this machine: play, learning, memory, and how many simulated hours pass in one of the clock.

    It ends within five minutes. Where there is a GPU, networks are on it.

    Args:
        game: ALE name.
        teacher: A shipped teacher's name or a weight file, of the full size; by default the game's shipped teacher.
        peers: Whether to measure Stable-Baselines3 and sb3-extra-buffers as well; the extra `bench` installs them.
        json: A file for the figures.
        overwrite: Whether a file that exists may be replaced.
    """
    missing = [name for name in PEERS if importlib.util.find_spec(name) is None] if peers else []
    if missing:
        raise DistillError(f'--peers needs {", ".join(missing)}; pip install "distill[bench]" installs all of it')
    checks.output("json", json, teacher, overwrite=overwrite)
    torch.set_num_threads(usable_cores())
    on_gpu = torch.cuda.is_available()
    bf16 = on_gpu or native_bf16()
    parts = parts_of(bf16=bf16, peers=peers, on_gpu=on_gpu)
    with Budget(parts) as budget:
        figures = {"machine": machine(), **measure(game, teacher or game, peers, budget)}
    why = [] if bf16 else ["bf16-mixed, since this CPU has no native bfloat16"]
    figures["left_out"] = why + [f"{part}, since no time was left" for part in budget.too_late]
    print_rates(figures)
    if json is not None:
        write_atomically(Path(json), (dumps(figures, indent=2) + "\n").encode())
