"""`python -m distill bench`: how fast this machine plays, learns and remembers, beside what it could do at best.

Each rate is a median over repetitions that take turns with those they are compared to, so that whatever else the
machine does hits all alike. A ratio is the median over rounds, each of which compares two turns. Learning takes turns
block by block: where `fit` has done one, its rivals do theirs before it goes on.
"""

import contextlib
import importlib.util
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from json import dumps
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from distill import checks, protocol
from distill.atari import num_actions, usable_cores
from distill.bench.learning import Learning, checkpointing, four_temperatures, hours_an_hour
from distill.bench.peers import StableBaselines3
from distill.bench.playing import Playing
from distill.bench.turns import ON_GPU, Rate, Size, Turn
from distill.engine import frozen_policy
from distill.evaluation import Episodes, play_episodes
from distill.files.store import write_atomically
from distill.hours.hour import Hour
from distill.human.make_starts import draw_starts
from distill.networks import DQN
from distill.replay import Memory
from distill.rollout import Unfinished
from distill.starts import Starts
from distill.weights import load_teacher

NETWORKS = ("dqn", "net1", "net2", "net3")
"""The paper's."""
SMALLEST = NETWORKS[-1]
TURNS = 5
SIZE = Size()
RATIOS = (
    "play_over_ceiling",
    "play_over_sb3",
    "fit_over_bare",
    "fit_over_plain",
    "fit_bf16_over_plain",
    "sample_over_update",
    "bytes_sb3_over_ours",
    "evaluation_over_sb3",
    "evaluation_bf16_over_sb3",
    "sharing_over_ideal",
)


def take_turns(turns: dict[str, Turn], on_turn: Callable[[], None] = lambda: None) -> dict[str, Rate]:
    """Measure each `TURNS` times, one after the other, after a turn that does not count."""
    rates: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(TURNS + 1):
        for name, turn in turns.items():
            rate = turn()
            on_turn()
            if number:
                rates[name].append(rate)
    return {name: Rate(tuple(found)) for name, found in rates.items()}


def measure(game: str, teacher: str, with_peers: bool, size: Size, on_turn: Callable[[], None]) -> dict[str, Any]:
    """Measure everything, and return rates, sizes and ratios by name."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network, _ = load_teacher(teacher, game, num_actions(game))
    playing = Playing(game, network.to(device), size)
    turns = playing.turns()
    if with_peers:
        peer = StableBaselines3(game, network, size.play_steps)
        turns["SB3 predict, 8 environments"] = peer.play
    found = {f"play, {name}": rate for name, rate in take_turns(turns, on_turn).items()}

    length = len(playing.collected) * size.play_steps // size.num_envs
    memory = Memory(length, size.num_envs, network.num_actions, game)
    learned = memory if device.type == "cpu" else Memory(length, size.num_envs, network.num_actions, game, device)
    position = Unfinished.fresh(size.num_envs)
    for steps in playing.collected:
        memory.extend(steps)
        if learned is not memory:
            learned.extend(steps)
        position = position.after(steps)
    file = Hour(playing.collected[-1], position).to_bytes({})

    for name in NETWORKS:
        rates = Learning(game, teacher, name, learned, size, device).rates(on_turn, sampling=name == SMALLEST)
        found |= {f"{name}, {what}": rate for what, rate in rates.items()}

    hours, waits = hours_an_hour(game, teacher, size)
    figures: dict[str, Any] = {
        "rates": {
            name: {"median": each.median, "low": min(each.turns), "high": max(each.turns)}
            for name, each in found.items()
        },
        "bytes_per_state": memory.nbytes / len(memory),
        "disk_bytes_per_hour": len(file) / size.play_steps * protocol.STEPS_PER_HOUR,
        "hours_an_hour": hours,
        "waits_for_play": waits,
        "play_over_ceiling": found["play, ours"].over(found["play, bare"]),
        "fit_over_bare": {name: found[f"{name}, fit"].over(found[f"{name}, bare"]) for name in NETWORKS},
        "fit_over_plain": {name: found[f"{name}, fit"].over(found[f"{name}, plain"]) for name in NETWORKS},
        "fit_bf16_over_plain": {
            name: found[f"{name}, fit, bf16-mixed"].over(found[f"{name}, plain beside bf16-mixed"]) for name in NETWORKS
        },
        "sample_over_update": found[f"{SMALLEST}, fit"].over(found[f"{SMALLEST}, sampling"]),
        "checkpoint_share": checkpointing(game),
    }
    if device.type == "cpu":  # else hours are whole ones, and the play is far shorter than what begins a run
        figures["sharing_over_ideal"] = four_temperatures(game, teacher, size)
    if with_peers:
        figures["play_over_sb3"] = found["play, ours"].over(found["play, SB3 predict, 8 environments"])
        figures["bytes_sb3_over_ours"] = peer.bytes_per_state / figures["bytes_per_state"]
        figures |= evaluations(peer, network, teacher, size)
    return figures


def evaluations(peer: StableBaselines3, network: DQN, teacher: str, size: Size) -> dict[str, float]:
    """Evaluate from 100 starts, between two halves of the peer's evaluation; ratios of episodes a second."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "starts"
        with contextlib.redirect_stdout(None):
            draw_starts(teacher, str(path), episodes=size.start_episodes, count=size.starts)
        starts = Starts.load(path)
    rules = Episodes(starts.game, tuple(range(size.starts)), 0, max_frames=size.max_frames, starts=starts)

    def ours(dtype: torch.dtype) -> float:
        start = time.perf_counter()
        play_episodes(frozen_policy(network, dtype), rules)
        return size.starts / (time.perf_counter() - start)

    rates = peer.evaluate(size.peer_episodes), ours(torch.float32), ours(torch.bfloat16)
    theirs = statistics.harmonic_mean([rates[0], peer.evaluate(size.peer_episodes)])
    return {"evaluation_over_sb3": rates[1] / theirs, "evaluation_bf16_over_sb3": rates[2] / theirs}


def table(figures: dict[str, Any]) -> Table:
    """Lay the figures out for people."""
    rows = Table(title=figures["machine"])
    rows.add_column("")
    for column in ("median", "lowest", "highest", "unit"):
        rows.add_column(column, justify="right")
    for name, rate in figures["rates"].items():
        unit = "steps/s" if name.startswith("play") else "minibatches/s" if name.endswith("sampling") else "updates/s"
        rows.add_row(name, *(f"{value:,.0f}" for value in rate.values()), unit)
    rows.add_section()
    for name, value, unit in (
        ("memory", figures["bytes_per_state"], "bytes a step"),
        ("memory", figures["bytes_per_state"] * protocol.STEPS_PER_HOUR / 1e6, "MB/simulated hour"),
        ("disk", figures["disk_bytes_per_hour"] / 1e6, "MB/simulated hour"),
        ("a learning teacher's checkpoint", figures["checkpoint_share"] * 100, "% of the time"),
        ("play and learn, net3", figures["hours_an_hour"], "simulated hours/h"),
        ("of that, learning waits for play", figures["waits_for_play"] * 100, "% of the time"),
        ("the paper's 500 hours, net3", 500 * 60 / figures["hours_an_hour"], "minutes"),
    ):
        rows.add_row(name, f"{value:,.1f}", "", "", unit)
    rows.add_section()
    for name in RATIOS:
        ratio = figures.get(name)
        for network, value in ratio.items() if isinstance(ratio, dict) else [("", ratio)]:
            if value is not None:
                rows.add_row(f"{name} {network}".strip(), f"{value:.2f}", "", "", "ratio")
    return rows


def bench(game: str = "pong", teacher: str | None = None, peers: bool = False, json: str | None = None) -> None:
    """Measure this machine: play, learning, memory, and how many simulated hours pass in one of the clock.

    Where there is a GPU, networks are on it.

    Args:
        game: ALE name.
        teacher: A shipped teacher's name or a weight file, of the full size; by default the game's shipped teacher.
        peers: Whether to measure Stable-Baselines3 as well; the extra `bench` installs it.
        json: A file for the figures.
    """
    if peers and importlib.util.find_spec("stable_baselines3") is None:
        raise ValueError('--peers needs Stable-Baselines3; pip install "distill[bench]" installs it')
    checks.output("json", json, teacher)
    torch.set_num_threads(usable_cores())
    size = ON_GPU if torch.cuda.is_available() else SIZE
    turns = (3 + peers) * (TURNS + 1) + sum(2 * (1 + size.rounds_of(name)) for name in NETWORKS)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("measuring", total=turns)
        figures = measure(game, teacher or game, peers, size, lambda: bar.advance(task))
    figures = {"machine": machine(), **figures}
    Console(highlight=False).print(table(figures))
    if json is not None:
        write_atomically(Path(json), (dumps(figures, indent=2) + "\n").encode())


def machine() -> str:
    """Say what was measured."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next(
            (line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")), cpu
        )
    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    return f"{gpu}{cpu}, {usable_cores()} cores, torch {torch.__version__}"
