"""`python -m distill evaluate`: what a network scores, and what that means."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from distill import checks, protocol
from distill.atari.rules import EnvRules
from distill.atari.starts import Starts
from distill.engine import frozen_policy
from distill.errors import DistillError
from distill.evaluation import EvalConfig, Played, random_score
from distill.film import Actor, check_film, film, temperature_of
from distill.precision import fitting
from distill.rollout import Policy
from distill.runs.scores import compare, play_with_bar, write_scores
from distill.summary import summarise
from distill.tools.export import load_program
from distill.weights.hub import pinned, title_of
from distill.weights.load import load_teacher
from distill.weights.onnx_files import load_exported, open_onnx

EXPORTED = {".onnx": open_onnx, ".pt2": load_program}
"""Endings of files that `export` wrote, and what reads them."""
FEW_GAMES = 30
"""From no-op starts, a player without anything random plays at most about so many different games."""


def evaluate(
    weights: str,
    game: str | None = None,
    starts: str = "noop",
    episodes: int | None = None,
    epsilon: float = protocol.EPSILON,
    sticky: float | None = None,
    fire_reset: bool | None = None,
    max_frames: int = protocol.MAX_FRAMES,
    seed: int = 0,
    precision: str = "32-true",
    teacher: str | None = None,
    json: str | None = None,
    video: str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Score a network, from no-op starts or from those of a file.

    Args:
        weights: A shipped teacher's name, a weight file, here or as `hf:owner/name` on the Hugging Face hub, a run's
            folder or checkpoint, or an `.onnx` or `.pt2` file that `export` wrote.
        game: Which, of a network that plays several.
        starts: A file of starts; `noop` means up to 30 no-ops.
        episodes: How many, 1 or more; by default 30, or each start of the file once.
        epsilon: Probability of a random action, 0 to 1.
        sticky: Probability that the emulator repeats the last action for a frame, 0 to 1; only from no-op starts. By
            default as the network's file says, mostly 0.
        fire_reset: Whether FIRE is pressed at each life's start. By default as the network's file says.
        max_frames: Longest episode in frames, above 0; what was played before a start counts.
        seed: Of the episodes, 0 or more.
        precision: Of the networks, `32-true` or `bf16-mixed`. In bf16-mixed a network now and then takes the other of
            two actions that are worth nearly the same. A CPU without native bfloat16 uses 32-true and says so.
        teacher: Whom to compare with: as `weights`; plays the same episodes.
        json: A file for the figures.
        video: A file for the first episode, `.mp4` or `.gif`; beside a teacher, both play it. Under the frames are the
            probabilities of actions: the softmax of logits, as a student has them, and of a teacher's values divided by
            0.01.
        overwrite: Whether a file that exists may be replaced.

    Returns:
        What is printed, and each episode's score: `mean`, `interval95`, `scores` ... With a teacher also its figures
        and the shares of its score.
    """
    checks.between(0, 1, epsilon=epsilon, sticky=sticky or 0)
    checks.at_least(1, episodes=1 if episodes is None else episodes)
    checks.between(1, protocol.MOST_FRAMES, max_frames=max_frames)
    checks.at_least(0, seed=seed)
    precision, note = fitting(precision, "cpu")
    if note is not None:
        print(f"note: {note}", file=sys.stderr)
    dtype = torch.float32 if precision == "32-true" else torch.bfloat16
    weights, teacher = pinned(weights), pinned(teacher) if teacher else None
    policy, game, temperature, env = player_of(weights, game, dtype)
    env = env.given(sticky=sticky, fire_reset=fire_reset)
    for option, path in {"json": json, "video": video}.items():
        checks.output(option, path, weights, teacher, starts, overwrite=overwrite)
    begin = None if starts == "noop" else Starts.load(starts, game)
    number = episodes or (protocol.EVAL_EPISODES if begin is None else len(begin.starts))
    rules = EvalConfig(game, tuple(range(number)), seed, epsilon, max_frames, env, begin)
    other, others_temperature = None, temperature
    if teacher:
        other, _, others_temperature, theirs = player_of(teacher, game, dtype)
        if len(theirs.actions(game)) != len(env.actions(game)):
            raise DistillError(f"{teacher} has other actions than {weights}; they cannot play by the same rules")
    if video is not None:
        check_film(rules, Path(video))
    if begin is None and epsilon == env.sticky == 0:
        print(
            f"warning: with nothing random there are at most about {FEW_GAMES} different games; epsilon or sticky "
            "actions make more",
            file=sys.stderr,
        )
    figures: dict[str, Any] = {"weights": weights, "game": game, "protocol": rules.described, "seed": seed}
    figures |= {"precision": precision, **score_facts(play_with_bar(policy, rules, "playing"))}
    normalise(figures, rules)
    if other is not None:
        played = play_with_bar(other, rules, "the teacher is playing")
        figures["teacher"] = {"weights": teacher, **score_facts(played)}
        figures |= compare(figures["mean"], figures["teacher"]["mean"], random_score(rules))
    print_figures(figures)
    if json is not None:
        write_scores(Path(json), figures)
    if video is not None:
        actors = [Actor(title_of(weights), policy, temperature)]
        if other is not None:
            actors = [Actor("teacher", other, others_temperature), Actor("student", policy, temperature)]
        film(actors, rules, Path(video))
    return figures


def player_of(weights: str, game: str | None, dtype: torch.dtype) -> tuple[Policy, str, float, EnvRules]:
    """Load a network that plays.

    Returns:
        It, its game, the temperature at which its outputs are probabilities, and by which rules it plays.

    Args:
        weights: As for `evaluate`.
        game: Which it must play; None means the only one it does.
        dtype: To compute with; an exported file says itself.

    Raises:
        ValueError: as `distill.weights.load.load_teacher` and `distill.weights.onnx_files.load_exported`.
    """
    if (reader := EXPORTED.get(Path(weights).suffix)) is not None:
        if dtype != torch.float32:
            raise DistillError(f"{weights} computes in float32; precision must be 32-true")
        policy, header = load_exported(Path(weights), reader, game)
        return policy, header["game"], temperature_of(header.get("kind", "values")), EnvRules.of(header)
    network, header = load_teacher(weights, game)
    kind = header.get("kind", "values")
    return frozen_policy(network, dtype), header["game"], temperature_of(kind), EnvRules.of(header)


def score_facts(played: Played) -> dict[str, Any]:
    """Return the summary of what was played."""
    return {
        **summarise(played.scores)._asdict(),
        "distinct_episodes": len(np.unique(played.fingerprints)),
        "scores": played.scores.tolist(),
    }


def normalise(figures: dict[str, Any], rules: EvalConfig) -> None:
    """Add (score - random) / (human - random), where published scores of random and human players fit the rules."""
    noop = rules.starts is None
    table = protocol.NOOP_SCORES if noop else protocol.HUMAN_START_SCORES
    if rules.game not in table or not rules.are_published:
        return
    random, human, _ = table[rules.game]
    figures["human_normalised"] = (figures["mean"] - random) / (human - random)
    figures["human_normalised_by"] = (
        "no-op starts, Mnih et al. 2015, of up to 5 minutes"
        if noop
        else "human starts, Nair et al. 2015, whose starts were others"
    )


def print_figures(figures: dict[str, Any]) -> None:
    """Print a table: the network, and its teacher beside it where there is one."""
    columns = [figures, figures["teacher"]] if "teacher" in figures else [figures]
    table = Table(title=f"{figures['game']}: {figures['protocol']}")
    table.add_column("")
    for column in columns:
        table.add_column(title_of(column["weights"]), justify="right")
    rows = {
        "mean score": lambda of: f"{of['mean']:.2f}",
        "standard error": lambda of: f"{of['standard_error']:.2f}",
        "95% interval": lambda of: "-" if of["episodes"] == 1 else "{:.2f} to {:.2f}".format(*of["interval95"]),
        "interquartile mean": lambda of: f"{of['iqm']:.2f}",
        "median": lambda of: f"{of['median']:g}",
        "lowest and highest": lambda of: f"{of['min']:g} and {of['max']:g}",
        "episodes, of them distinct": lambda of: f"{of['episodes']}, {of['distinct_episodes']}",
    }
    for row, show in rows.items():
        table.add_row(row, *map(show, columns))
    if "human_normalised" in figures:
        table.add_row(f"human-normalised\n({figures['human_normalised_by']})", f"{figures['human_normalised']:.1%}")
    for name, row in (("ratio", "share of the teacher's score"), ("random_adjusted_ratio", "the same, above random")):
        if figures.get(name) is not None:
            table.add_row(row, f"{figures[name]:.1%}")
    Console(highlight=False).print(table)
