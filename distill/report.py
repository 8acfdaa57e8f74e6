"""Runs -> tables: what a teacher and its student are worth beside each other."""

import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from distill.atari import action_names
from distill.data import ReplayDataModule
from distill.evaluation import Episodes, Played, Summary, play_episodes, random_adjusted_ratio, random_score, summarise
from distill.networks import DQN, count_parameters
from distill.player import Player
from distill.rollout import greedy_in
from distill.weights import find, load_network, save_network, write_atomically


class Entry(NamedTuple):
    """A network in the table."""

    network: DQN
    file: Path
    score: Summary


def latency_ms(network: torch.nn.Module) -> float:
    """Measure a forward pass of one observation on the CPU: the median of 100, in milliseconds."""
    device = next(network.parameters()).device
    network.cpu()
    observation = torch.zeros(1, 4, 84, 84, dtype=torch.uint8)
    times = []
    with torch.inference_mode():
        for _ in range(120):
            start = time.perf_counter()
            network(observation)
            times.append(time.perf_counter() - start)
    network.to(device)
    return float(np.median(times[20:])) * 1000


def facts(entry: Entry) -> dict[str, Any]:
    """Collect what `scores.json` and the table say of a network."""
    return {
        **entry.score._asdict(),
        "parameters": count_parameters(entry.network),
        "file_bytes": entry.file.stat().st_size,
        "latency_ms": latency_ms(entry.network),
    }


def compare(student: float, teacher: float, random: float) -> dict[str, float | None]:
    """Say what the student's score is of the teacher's; None where a quotient means nothing.

    Args:
        student: Its mean score.
        teacher: Its teacher's.
        random: A random player's.
    """
    adjusted = random_adjusted_ratio(student, teacher, random)
    return {
        "random": random,
        "ratio": student / teacher if teacher > 0 else None,
        "random_adjusted_ratio": None if math.isnan(adjusted) else adjusted,
    }


def write_scores(path: Path, scores: dict[str, Any]) -> None:
    """Write `scores.json`."""
    write_atomically(path, (json.dumps(scores, indent=2) + "\n").encode())


def report(model: Player, data: ReplayDataModule, folder: Path) -> None:
    """Write a finished run's network and `scores.json`, and print the table.

    Args:
        model: The trained module. A student has been scored already; a teacher's file holds half precision, so the
            file is what is scored.
        data: Its data module; the teacher, where there is one, is scored here.
        folder: The run's folder.
    """
    rules = data.eval_rules()
    scores: dict[str, Any] = {"game": data.game, "protocol": rules.described}
    header = {
        "game": data.game,
        "actions": action_names(data.game),
        "protocol": rules.described,
        "trained": {"hours": model.current_epoch, "updates": model.global_step, "teacher": data.teacher_source},
    }
    if data.teacher is None:
        file = folder / "teacher.safetensors"
        save_network(file, model.network, header, torch.float16)
        network, _ = load_network(str(file))
        summary = summarise(play_with_bar(network, rules, "scoring the teacher").scores)
        save_network(file, network, {**header, "score": summary._asdict()}, torch.float16)
        scores["teacher"] = facts(Entry(network, file, summary))
    else:
        file = folder / "student.safetensors"
        save_network(file, model.network, {**header, "score": model.summary._asdict()})
        summary = summarise(play_with_bar(data.teacher, rules, "scoring the teacher").scores)
        scores["teacher"] = facts(Entry(data.teacher, find(data.teacher_source), summary))
        scores["student"] = facts(Entry(model.network, file, model.summary))
        scores |= compare(model.summary.mean, summary.mean, random_score(rules))
    write_scores(folder / "scores.json", scores)
    print_table(scores)


def play_with_bar(network: DQN, rules: Episodes, title: str) -> Played:
    """Let a network play, showing how many episodes have ended."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=len(rules.numbers))
        return play_episodes(greedy_in(network), rules, lambda: bar.advance(task))


def print_table(scores: dict[str, Any]) -> None:
    """Print the networks of `scores` side by side."""
    names = [name for name in ("teacher", "student") if name in scores]
    table = Table(title=f"{scores['game']}: {scores['protocol']}")
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    rows = {
        "parameters": lambda of: f"{of['parameters']:,}",
        "file": lambda of: f"{of['file_bytes'] / 1e6:.2f} MB",
        "forward, 1 observation": lambda of: f"{of['latency_ms']:.2f} ms",
        "score": lambda of: f"{of['mean']:.1f}",
        "95% interval": lambda of: "{:.1f} to {:.1f}".format(*of["interval95"]),
        "episodes": lambda of: str(of["episodes"]),
    }
    for row, show in rows.items():
        table.add_row(row, *(show(scores[name]) for name in names))
    if "random_adjusted_ratio" in scores:
        table.add_row("student's share of the teacher's score", "", _percent(scores["ratio"]))
        table.add_row(f"the same, above random ({scores['random']:g})", "", _percent(scores["random_adjusted_ratio"]))
    Console(highlight=False).print(table)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
