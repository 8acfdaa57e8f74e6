"""Runs' folders -> what each student scored, and the same over seeds."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from omegaconf import OmegaConf
from safetensors import safe_open

from distill.errors import DistillError
from distill.files.packing import HEADER
from distill.losses import WITH_TEMPERATURE
from distill.protocol import STEPS_PER_HOUR
from distill.runs.scores import games_of
from distill.summary import random_adjusted_ratio
from distill.weights.best import BEST_INDEX, FOLDER

STUDENT = "distill.student.StudentModule"
TEACHER_CLASS = "distill.teacher.TeacherModule"
NO_MATTER = ("seed", "store", "store_limit_gb", "num_threads", "overlap", "teacher", "teacher_weights", "combine")
"""Options of the data module that change no score, or stand elsewhere."""
OF_TRAINER = ("precision", "devices", "num_nodes", "strategy")
"""Options of the Trainer that may change a score."""
T_QUANTILES = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
)  # fmt: skip
"""Percentile 97.5 of Student's t with 1, 2, ... degrees of freedom."""


class Experiment(NamedTuple):
    """What a run did, apart from its seed."""

    module: str
    """Import path of the trained class."""
    network: str
    loss: str | None
    """None of a teacher."""
    temperature: float | None
    games: tuple[str, ...]
    hours: float
    """Simulated, of 54,000 steps, all games together."""
    updates: int
    acts: bool
    """Whether the student acts in some episodes."""
    jsd_beta: float | None
    """None of other losses than `jsd`."""
    rest: str
    """All other options that matter, as JSON."""

    @property
    def described(self) -> str:
        """Return the name in a table."""
        beta = "" if self.jsd_beta is None else f"beta {self.jsd_beta:g}"
        temperature = f"temperature {self.temperature:g}" if self.loss in WITH_TEMPERATURE else ""
        acts = "student acts" if self.acts else ""
        return ", ".join(filter(None, (self.network, self.loss, beta, temperature, acts)))


class Result(NamedTuple):
    """What one run scored in one game."""

    run: Path
    experiment: Experiment
    seed: int
    protocol: str
    game: str
    own: dict[str, Any]
    """Of the network that was trained: mean, interval95, episodes."""
    teacher: dict[str, Any] | None
    random: float | None
    parameters: int
    teacher_parameters: int | None


class Pooled(NamedTuple):
    """What one experiment scored in one game, over its seeds."""

    results: tuple[Result, ...]
    """One for each seed, in their order."""
    mean: float
    interval95: tuple[float, float]
    """Over seeds, by Student's t; of a single seed over its episodes, by bootstrap."""
    teacher: float | None
    """Mean of the teacher's scores."""
    random: float | None

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the seeds."""
        return tuple(result.seed for result in self.results)

    @property
    def share(self) -> float | None:
        """Divide by the teacher's score, as the paper does; None where that means nothing."""
        return self.mean / self.teacher if self.teacher and self.teacher > 0 else None

    @property
    def above_random(self) -> float | None:
        """Return the share of the teacher's points above a random player's; None where that means nothing."""
        return self._above_random(self.mean)

    @property
    def above_random_interval(self) -> tuple[float, float] | None:
        """Return the same share of the interval's ends, taking the teacher's and random's scores as exact."""
        low, high = map(self._above_random, self.interval95)
        return None if low is None or high is None else (low, high)

    def _above_random(self, score: float) -> float | None:
        if self.teacher is None or self.random is None:
            return None
        share = random_adjusted_ratio(score, self.teacher, self.random)
        return None if math.isnan(share) else share

    def beside(self, teacher: float | None, random: float | None) -> "Pooled":
        """Compare with a teacher that the runs did not have."""
        return self if self.teacher is not None else self._replace(teacher=teacher, random=random)


def is_online(run: Path) -> bool:
    """Return whether a run is of a teacher that keeps its best networks, or of a student that follows one."""
    return is_learning_teacher(run) or "OnlineSwap" in str(load_config(run).trainer.get("callbacks"))


def is_learning_teacher(run: Path) -> bool:
    """Return whether a run is of a teacher that keeps its best networks."""
    return (run / FOLDER / BEST_INDEX).is_file()


def load_config(run: Path) -> Any:
    """Read a run's config.

    Raises:
        ValueError: for a file that is none.
    """
    try:
        config = OmegaConf.load(run / "config.yaml")
        config.trainer, config.model.class_path, config.model.init_args, config.data.init_args.game  # noqa: B018
    except Exception as error:
        raise DistillError(f"{run / 'config.yaml'} is no run's config ({str(error).splitlines()[0]})") from error
    return config


def read_results(run: Path) -> list[Result]:
    """Read what a run scored, in each of its games.

    Args:
        run: Its folder, with `config.yaml` and `scores.json`.

    Raises:
        ValueError: for a run that has not ended, and for files that are not of a run.
    """
    config = load_config(run)
    if not (run / "scores.json").is_file():
        raise DistillError(f"{run} has no scores.json; let the run end")
    try:
        scores = json.loads((run / "scores.json").read_text())
        games = games_of(scores)
        teachers = {game: _taught_by(of) for game, of in games.items() if "student" in of}
        experiment = _experiment(config, _epochs(run, config), teachers)
        return [
            Result(
                run,
                experiment,
                int(config.seed_everything),
                str(scores["protocol"]),
                game,
                own := _checked_scores(of["student" if "student" in of else "teacher"]),
                _checked_scores(of["teacher"]) if {"student", "teacher"} <= of.keys() else None,
                of.get("random"),
                int(scores.get("parameters", own["parameters"])),
                int(of["teacher"]["parameters"]) if {"student", "teacher"} <= of.keys() else None,
            )
            for game, of in games.items()
        ]
    except Exception as error:  # whatever files of others make their readers raise
        raise DistillError(f"{run} holds what no run writes ({_reason_of(error)})") from error


def _taught_by(of: Mapping[str, Any]) -> str | None:
    """Return what tells a student's teacher apart: its digest, or the hours of a dataset."""
    return of["teacher"].get("digest") if "teacher" in of else of["recorded"]


def _checked_scores(own: dict[str, Any]) -> dict[str, Any]:
    low, high = own["interval95"]
    return {
        **own,
        "mean": float(own["mean"]),
        "interval95": (float(low), float(high)),
        "episodes": int(own["episodes"]),
    }


def _reason_of(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".removesuffix(": ")


def _epochs(run: Path, config: Any) -> int:
    """Return the hours that a run learned, as its network's file has them, whatever ended it."""
    for file in (run / "student.safetensors", run / "teacher.safetensors"):
        if file.is_file():
            with safe_open(file, "pt") as opened:
                return int(json.loads(opened.metadata()[HEADER])["trained"]["hours"])
    return int(config.trainer.max_epochs)


def _experiment(config: Any, epochs: int, teachers: dict[str, str | None]) -> Experiment:
    model, data = _options_of(config.model), _options_of(config.data)
    game = data["game"]
    sources = game if isinstance(game, dict) else {game: data.get("teacher")}
    kept = {name: value for name, value in data.items() if name not in (*NO_MATTER, "game")}
    kept["teachers"] = {game: teachers.get(game) or source for game, source in sources.items()}  # wherever they lie
    trainer = {name: config.trainer.get(name) for name in OF_TRAINER}
    loss = model.get("loss_name")
    return Experiment(
        config.model.class_path,
        model.get("network", "its own"),
        loss,
        model.get("temperature"),
        tuple(sources),
        epochs * data["hour_steps"] / STEPS_PER_HOUR,
        epochs * data["updates_per_hour"],
        data.get("beta", 1.0) != 1.0 or data.get("lmbda", 0.0) != 0.0,
        float(model.get("jsd_beta", 0.5)) if loss == "jsd" else None,
        json.dumps({"model": model, "data": kept, "trainer": trainer, "digests": teachers}, sort_keys=True),
    )


def _options_of(part: Any) -> dict[str, Any]:
    """Return the options of a config's module as plain values; null is as if an option had not been given."""
    options = OmegaConf.to_container(part.init_args, resolve=False)
    assert isinstance(options, dict)
    return {str(name): value for name, value in options.items() if value is not None}


def pool(results: Sequence[Result]) -> Pooled:
    """Take seeds of one experiment together.

    Args:
        results: One or more, of different seeds, in one game.
    """
    results = tuple(sorted(results, key=lambda result: result.seed))
    means = np.array([result.own["mean"] for result in results])
    if len(results) == 1:
        low, high = results[0].own["interval95"]
    else:
        freedom = len(results) - 1
        quantile = T_QUANTILES[freedom - 1] if freedom <= len(T_QUANTILES) else 1.96 + 2.5 / freedom
        half = quantile * means.std(ddof=1) / math.sqrt(len(results))
        low, high = means.mean() - half, means.mean() + half
    teachers = [result.teacher["mean"] for result in results if result.teacher]
    return Pooled(
        results,
        float(means.mean()),
        (float(low), float(high)),
        float(np.mean(teachers)) if teachers else None,
        results[0].random,
    )
