"""A run's end: its network as a file, and what teacher and student are worth beside each other."""

import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn

from distill.data import ReplayDataModule
from distill.engine import device_of
from distill.evaluation import random_score
from distill.hours.dataset_play import RecordedTeacher
from distill.module import PolicyModule
from distill.networks import DQN, count_parameters, evaluating
from distill.runs.scores import compare, means_of, print_games, print_table, write_scores
from distill.summary import summarise
from distill.weights.best import rounded
from distill.weights.callables import CallableNetwork
from distill.weights.digests import digest_of
from distill.weights.files import save_network

PACKAGE = Path(__file__).parent.parent
TEACHER = "teacher"
"""Who else than the trained module plays episodes that are scored; see `distill.module.PolicyModule.on_score`."""


def latency_ms(network: torch.nn.Module) -> float:
    """Measure a forward pass of one observation on the CPU: the median of 100, in milliseconds."""
    device = device_of(network)
    network.cpu()
    observation = torch.zeros(1, 4, 84, 84, dtype=torch.uint8)
    times = []
    with torch.inference_mode(), evaluating(network):
        for _ in range(120):
            start = time.perf_counter()
            network(observation)
            times.append(time.perf_counter() - start)
    network.to(device)
    return float(np.median(times[20:])) * 1000


def network_facts(network: DQN | CallableNetwork, file: Path | None) -> dict[str, Any]:
    """Collect what `scores.json` and the table say of a network beside its score; a guest comes from no file."""
    return {
        "parameters": count_parameters(network),
        "file_bytes": None if file is None else file.stat().st_size,
        "latency_ms": latency_ms(network),
    }


def scores_of(model: PolicyModule, data: ReplayDataModule) -> dict[str, dict[str, Any]]:
    """Collect each game's scores: the student's of the last evaluation, beside its teacher's.

    A teacher is scored when it is first asked for; without one there is the model's own score alone, and beside a
    dataset the names of the first hour in it and the last.
    """
    found: dict[str, dict[str, Any]] = {}
    for game in model.games:
        own = model.summaries[game]
        if game not in data.teachers:
            found[game] = {"teacher": own._asdict()}
            continue
        rules = data.eval_config(game)
        teacher = data.teachers[game]
        if isinstance(teacher, RecordedTeacher):
            found[game] = {"student": own._asdict(), "recorded": teacher.described}
            continue
        if teacher.summary is None:
            teacher.summary = summarise(rules.score(teacher.network, model.telling(TEACHER)))
        found[game] = {
            "teacher": teacher.summary._asdict(),
            "student": own._asdict(),
            **compare(own.mean, teacher.summary.mean, random_score(rules)),
        }
    return found


class ScoreTable(L.Callback):
    """Prints, after each evaluation of a student of several games, its scores beside its teachers', and logs means."""

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Score the teachers, the first time; log and print."""
        data = ReplayDataModule.of(trainer)
        assert isinstance(pl_module, PolicyModule)
        fitting = trainer.state.fn == TrainerFn.FITTING
        if len(pl_module.games) == 1 or not data.teachers or not (fitting and trainer.is_global_zero):
            return
        scores = scores_of(pl_module, data)
        means = {f"val/{name}": mean for name, mean in means_of(scores).items() if mean is not None}
        for logger in trainer.loggers:
            logger.log_metrics(means, step=trainer.global_step)
        if trainer.current_epoch + 1 != trainer.max_epochs:  # else the report prints it
            print_games(f"after hour {trainer.current_epoch + 1}", scores)


def learned_by(model: PolicyModule) -> dict[str, Any]:
    """Describe what a module has learned by, and with which versions."""
    kind = type(model)
    said = {name: getattr(model, name) for name in ("loss_name", "temperature", "double_q") if hasattr(model, name)}
    if said.get("loss_name") == "jsd":
        said["jsd_beta"] = model.jsd_beta
    if kind.__module__.partition(".")[0] != "distill":
        said["module"] = f"{kind.__module__}.{kind.__qualname__}"
    optimizers = model.trainer.optimizers
    versions = {"distill": version("distill"), "torch": torch.__version__, "ale_py": version("ale-py")}
    if (commit := commit_of(PACKAGE)) is not None:
        versions["commit"] = commit
    return {**said, "optimizer": type(optimizers[0]).__name__ if optimizers else None, "versions": versions}


def commit_of(package: Path) -> str | None:
    """Return the git commit of the checkout that a package lies at the top of; None where it lies in none."""
    if not (package.parent / ".git").exists():
        return None
    asked = ["git", "-C", str(package), "rev-parse", "HEAD"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def only(of_games: list[Any]) -> Any:
    """Write what is said of each game without a list where there is but one."""
    return of_games[0] if len(of_games) == 1 else of_games


def save_report(model: PolicyModule, data: ReplayDataModule, folder: Path | str) -> dict[str, Any]:
    """Write a finished run's network and `scores.json`, as `save_results`, and print the table.

    Returns:
        What `scores.json` holds.
    """
    whole = save_results(model, data, folder)
    show_scores(whole)
    return whole


def show_scores(whole: dict[str, Any]) -> None:
    """Print the table of what `scores.json` holds."""
    if "games" not in whole:
        print_table(whole)
        return
    print_games(whole["protocol"], whole["games"])
    file_bytes = next(of["student" if "student" in of else "teacher"]["file_bytes"] for of in whole["games"].values())
    print(f"{whole['parameters']:,} parameters, {file_bytes / 1e6:.1f} MB")


def save_results(model: PolicyModule, data: ReplayDataModule, folder: Path | str) -> dict[str, Any]:
    """Write a finished run's network and `scores.json`.

    Args:
        model: The trained module. A student that was not scored after its last update is scored here; a teacher's file
            holds half precision, so the file is what is scored.
        data: Its data module; the teachers, where there are some, are scored here if they were not before.
        folder: The run's folder; made where it is missing.

    Returns:
        What `scores.json` holds.
    """
    described, taught = data.eval_config(model.games[0]).described, bool(data.teachers)
    header = {
        "game": only(list(model.games)),
        "actions": only([data.env_of(game).action_names(game) for game in model.games]),
        "kind": model.kind,
        "protocol": described,
        **model.rules_said,
        "trained": {
            "hours": model.current_epoch,
            "updates": model.global_step,
            "teacher": only([data.teachers[game].name if taught else None for game in model.games]),
            **learned_by(model),
        },
    }
    folder = Path(folder)
    file = folder / ("student.safetensors" if taught else "teacher.safetensors")
    dtype = torch.float32 if taught else torch.float16
    networks = {game: model.network.for_game(game) for game in model.games}
    if not taught or model.scored_updates != model.global_step:
        save_network(file, model.network, header, dtype)
        if not taught:
            networks = {game: rounded(network) for game, network in networks.items()}
        for game, network in networks.items():
            model.summaries[game] = summarise(data.eval_config(game).score(network, model.telling()))
    header["score"] = only([model.summaries[game]._asdict() for game in model.games])
    save_network(file, model.network, header, dtype)
    scores = scores_of(model, data)
    for game, of in scores.items():
        of["student" if taught else "teacher"] |= network_facts(networks[game], file)
        if taught:
            teacher = data.teachers[game]
            if teacher.network is None:
                continue
            of["teacher"] |= network_facts(teacher.network, teacher.file)
            of["teacher"]["digest"] = digest_of(teacher.network)
    if len(scores) == 1:
        ((game, of),) = scores.items()
        whole = {"game": game, "protocol": described, **of}
    else:
        whole = {"protocol": described, "parameters": count_parameters(model.network), "games": scores}
        whole |= means_of(scores) if taught else {}
    write_scores(folder / "scores.json", whole)
    return whole
