"""A sweep's file, in the format of Weights & Biases: its points, and the command line of `fit` for each."""

import difflib
import importlib.util
import itertools
import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import yaml

from distill.errors import DistillError
from distill.randomness import generator
from distill.runs.scores import flat_scores

METHODS = ("grid", "random", "bayes")
KEYS = (
    *("method", "parameters", "command", "name", "metric", "run_cap"),
    *("description", "project", "entity", "program", "early_terminate"),  # what W&B does with them is not done here
)
COMMAND = ("${env}", "${interpreter}", "-m", "distill", "fit")
DISTRIBUTIONS = ("categorical", "constant", "int_uniform", "uniform", "log_uniform_values", "normal")

Point = dict[str, Any]
"""A value for each parameter."""


class Sweep(NamedTuple):
    """What a sweep's file says."""

    name: str
    method: Literal["grid", "random", "bayes"]
    parameters: dict[str, dict[str, Any]]
    """By option of `fit`, without dashes: `value`, `values`, or `min` and `max`, and `distribution`."""
    options: tuple[str, ...]
    """Of `fit`, with `${args}` where a point's go."""
    run_cap: int | None
    """How many runs at most."""
    content: dict[str, Any]
    """The whole file."""

    @property
    def varied(self) -> list[str]:
        """Name the parameters that differ among points."""
        return [name for name, of in self.parameters.items() if "value" not in of and len(of.get("values", "..")) > 1]

    def options_of(self, point: Point, more: Sequence[str] = ()) -> list[str]:
        """Write the options of `fit` for a point, as W&B's agent does.

        Args:
            point: Whose.
            more: Options that go before the point's.
        """
        args = [*more, *(f"--{name}={'null' if value is None else value}" for name, value in point.items())]
        return [part for option in self.options for part in (args if option == "${args}" else [option])]

    def grid(self, cap: int | None = None) -> list[Point]:
        """List all points of a grid, or the first so many; the last parameter changes fastest."""
        every = itertools.product(*(_listed(name, of)[:cap] for name, of in self.parameters.items()))
        return [dict(zip(self.parameters, values, strict=True)) for values in itertools.islice(every, cap)]

    def random(self, seed: int) -> Iterator[Point]:
        """Draw points, each for itself: the third is the third, however many are asked for."""
        for number in itertools.count():
            draw = generator(seed, "sweep", number)
            yield {name: _drawn(name, of, draw) for name, of in self.parameters.items()}


def read_sweep(path: Path) -> Sweep:
    """Read a sweep's file.

    Raises:
        ValueError: for what is no such file, and for a method, a command or parameters that nothing can be made of.
    """
    try:
        content = yaml.load(path.read_text(), _Loader)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise DistillError(f"{path} cannot be read as a sweep ({str(error).splitlines()[0]})") from error
    if not isinstance(content, dict):
        raise DistillError(f"{path} is no sweep; it must have method, parameters and command")
    for key in content:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1)
            raise DistillError(
                f"{path}: unknown key {key!r}; " + (f"did you mean {near[0]}?" if near else _one_of(KEYS))
            )
    method, run_cap = content.get("method"), content.get("run_cap")
    if method not in METHODS:
        raise DistillError(f"{path}: method is {method}; it must be {_one_of(METHODS)}")
    if run_cap is not None and (not isinstance(run_cap, int) or run_cap < 1):
        raise DistillError(f"{path}: run_cap is {run_cap}; it must be 1 or more")
    command = content.get("command")
    command = [str(part) for part in command] if isinstance(command, list) else []
    options = command[len(COMMAND) :]
    macros = [part for part in options if part.startswith("${") and part.endswith("}")]
    if tuple(command[: len(COMMAND)]) != COMMAND or macros != ["${args}"]:
        raise DistillError(f"{path}: command must be [{', '.join(COMMAND)}, ...options of fit, ${{args}}]")
    parameters = content.get("parameters")
    for option in (*options, *(f"--{name}" for name in parameters or ())):
        if option.partition("=")[0] == "--run_dir":
            raise DistillError(f"{path}: run_dir is each run's own here; give the sweep a --run_dir")
    if not isinstance(parameters, dict) or not parameters:
        raise DistillError(f"{path}: parameters are missing; name one at least")
    for name, of in parameters.items():
        _check_parameter(path, name, of, method)
    name = str(content.get("name") or path.stem)
    if Path(name).name != name:
        raise DistillError(f"{path}: name is {name}; it becomes a folder's, so it must have no slash")
    return Sweep(name, method, parameters, tuple(options), run_cap, content)


class _Loader(yaml.SafeLoader):
    """Takes 1e-5 for a number, as runs' configs do: YAML 1.2, where 1.1 wants 1.0e-5."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


class Points:
    """The points of a sweep, in their order; those of a search depend on the scores of the points before."""

    def __init__(self, what: Sweep, count: int | None, seed: int) -> None:
        self.what = what
        self.seed = seed
        self.made: list[Point] = []
        """So far."""
        cap = count or what.run_cap
        if what.method == "grid":
            self.total = len(what.grid(cap))
        elif cap is None:
            raise DistillError(f"method {what.method} has no end; give --count, or the file a run_cap")
        else:
            self.total = cap
        if what.method == "bayes":
            if importlib.util.find_spec("sweeps") is None:
                raise DistillError("method bayes needs the package sweeps; pip install sweeps installs it")
            if "name" not in (what.content.get("metric") or {}):
                raise DistillError("method bayes needs metric.name in the file, such as student/score")

    def known(self) -> list[Point]:
        """List the points that no score decides."""
        if self.what.method == "grid":
            return self.what.grid(self.total)
        if self.what.method == "random":
            return list(itertools.islice(self.what.random(self.seed), self.total))
        return [self._suggested([])]

    def resume(self, made: Sequence[Point]) -> None:
        """Resume from the points that were searched before."""
        if self.what.method == "bayes":
            self.made = list(made[: self.total])

    def each(self, scores_of: Callable[[int], Mapping[str, Any] | None]) -> Iterator[Point]:
        """Yield all, one after another.

        Args:
            scores_of: What a point's run scored, by number; None for one that has not ended.
        """
        if self.what.method != "bayes":
            self.made = self.known()
        for number in range(self.total):
            if number == len(self.made):
                self.made.append(self._suggested([scores_of(before) for before in range(number)]))
            yield self.made[number]

    def _suggested(self, scores: Sequence[Mapping[str, Any] | None]) -> Point:
        import sweeps

        draw = generator(self.seed, "sweep", len(scores))
        np.random.seed(int(draw.integers(2**32)))  # noqa: NPY002  # the package draws from these two
        random.seed(int(draw.integers(2**32)))
        done = [
            sweeps.SweepRun(
                config={name: {"value": value} for name, value in point.items()},
                state="failed" if of is None else "finished",
                summaryMetrics={} if of is None else flat_scores(of),
            )
            for point, of in zip(self.made, scores, strict=True)
        ]
        try:
            suggestion = sweeps.next_run(dict(self.what.content), done)
        except Exception as error:  # whatever it cannot take in the file
            raise DistillError(
                f"the package sweeps says: {(str(error).splitlines() or [type(error).__name__])[0]}"
            ) from error
        found = {name: suggestion.config[name]["value"] for name in self.what.parameters}
        return {name: value.item() if isinstance(value, np.generic) else value for name, value in found.items()}


def _one_of(names: Sequence[str]) -> str:
    return f"one of {', '.join(names)}"


def _check_parameter(path: Path, name: str, of: Any, method: str) -> None:
    if not isinstance(of, dict) or "parameters" in of:
        raise DistillError(
            f"{path}: {name} must have value, values, or min and max; an option's name stands in one piece"
        )
    if "values" in of and not (isinstance(of["values"], list) and of["values"]):
        raise DistillError(f"{path}: {name} has no values; name one at least")
    if method == "bayes":
        return  # the package `sweeps` says itself what it cannot take
    kind = _distribution(of)
    if kind not in DISTRIBUTIONS:
        raise DistillError(f"{path}: {name} has distribution {kind}; here it must be {_one_of(DISTRIBUTIONS)}")
    needed = {"categorical": ("values",), "constant": ("value",), "normal": ()}.get(kind, ("min", "max"))
    if kind != "constant" and any(of.get(key) is None for key in needed):
        raise DistillError(f"{path}: {name} must have {' and '.join(needed)}")
    if "min" in needed:
        low, high = of["min"], of["max"]
        numbers, called = (int, "integers") if kind == "int_uniform" else (int | float, "numbers")
        if not (_is_number(low, numbers) and _is_number(high, numbers) and low <= high):
            raise DistillError(f"{path}: {name} has min {low} and max {high}; they must be {called} in this order")
        if kind == "log_uniform_values" and low <= 0:
            raise DistillError(f"{path}: {name} has min {low}; for {kind} it must be above 0")
    if kind == "normal" and not all(_is_number(of.get(key, 1), int | float) for key in ("mu", "sigma")):
        raise DistillError(f"{path}: {name} has mu {of.get('mu')} and sigma {of.get('sigma')}; they must be numbers")
    if method == "grid" and kind not in DISTRIBUTIONS[:3]:
        raise DistillError(
            f"{path}: {name} has endlessly many values; a grid needs values, or min and max that are integers"
        )
    shares = of.get("probabilities")
    if shares is not None and not (
        isinstance(shares, list)
        and len(shares) == len(of.get("values", ()))
        and all(_is_number(share, int | float) and share >= 0 for share in shares)
        and math.isclose(sum(shares), 1)
    ):
        raise DistillError(f"{path}: {name} must have a probability for each of its values, 1 together")


def _is_number(value: Any, kinds: Any) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)


def _distribution(of: Mapping[str, Any]) -> str:
    if "distribution" in of:
        return str(of["distribution"]).removesuffix("_w_probabilities")
    if "value" in of or "values" in of:
        return "constant" if "value" in of else "categorical"
    return "int_uniform" if all(isinstance(of.get(key), int) for key in ("min", "max")) else "uniform"


def _listed(name: str, of: Mapping[str, Any]) -> Sequence[Any]:
    kind = _distribution(of)
    if kind == "int_uniform":
        return range(of["min"], of["max"] + 1)
    return [of["value"]] if kind == "constant" else of["values"]


def _drawn(name: str, of: Mapping[str, Any], draw: np.random.Generator) -> Any:
    kind = _distribution(of)
    if kind == "constant":
        return of["value"]
    if kind == "categorical":
        return of["values"][int(draw.choice(len(of["values"]), p=of.get("probabilities")))]
    if kind == "normal":
        return float(draw.normal(of.get("mu", 0.0), of.get("sigma", 1.0)))
    low, high = of["min"], of["max"]
    if kind == "int_uniform":
        return int(draw.integers(low, high, endpoint=True))
    if kind == "log_uniform_values":
        return float(np.exp(draw.uniform(np.log(low), np.log(high))))
    return float(draw.uniform(low, high))
