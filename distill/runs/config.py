"""A run's config: written beside what was learned under it, compared and repaired where the run goes on."""

import os
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from jsonargparse.typing import Path_fr

from distill.errors import DistillError
from distill.files.checkpoint import newest, read_checkpoint
from distill.files.store import write_atomically
from distill.runs.folder import CONFIG
from distill.weights.files import shipped
from distill.weights.hub import on_hub, pinned

IN_CHECKPOINT = "config"
"""Where a checkpoint has the config under which it was learned, as text."""
PLAIN_TYPES = (str, int, float, bool, os.PathLike, Enum, Path_fr)
FIXED = (
    *("seed_everything", "model.class_path", "model.init_args.network"),
    *("data.init_args.game", "data.init_args.hour_steps", "data.init_args.updates_per_hour"),
    *("data.init_args.block_updates", "data.init_args.refills_per_hour", "data.init_args.num_envs"),
)
"""What cannot change in the midst of a run."""
PATHS = ("teacher", "store", "pretrained", "starts", "teacher_run", "folder")
"""Options that may name files and folders."""
SOURCES = ("teacher", "pretrained")
"""Options that may name weights on the Hugging Face hub."""


def whole_config(config: Mapping[str, Any]) -> str:
    """Return a config as it is written: of this run alone, its paths valid from any folder."""
    found: dict[str, Any] = {**config, "resume": None, "ckpt_path": None, "run_dir": None, "config": None}
    found.pop("config")
    return yaml.safe_dump(_each(found, _absolute), sort_keys=False)


def _each(options: Any, change: Callable[[str, Any], Any], name: str = "") -> Any:
    """Put each option through a function of its name and its value; a namespace is changed in place.

    The teachers of several games, which stand under `game`, go by the name `teacher`.
    """
    if isinstance(options, list):
        return [_each(of, change, name) for of in options]
    if not isinstance(options, Namespace | dict):
        return change(name, options)
    parts = vars(options) if isinstance(options, Namespace) else dict(options)
    for key, of in list(parts.items()):
        parts[key] = _each(of, change, "teacher" if name == "game" else key)
    return options if isinstance(options, Namespace) else parts


def _absolute(name: str, value: Any) -> Any:
    if name not in PATHS or not isinstance(value, str) or value in shipped():
        return value
    return str(Path(value).absolute()) if name == "store" or Path(value).exists() else value


def pin_sources(config: Namespace, known: Sequence[str] = ()) -> None:
    """Put the file and the commit into each name on the hub, so that a run takes the same bytes whenever it goes on.

    Args:
        config: Options, changed in place.
        known: Pinned names that a run which goes on had before, which hold unless a revision is asked for.

    Raises:
        ValueError: as `distill.weights.hub.hub_file`.
    """
    _each(config, lambda name, value: pinned(value, known) if _may_be_on_hub(name, value) else value)


def known_sources(run: Path) -> list[str]:
    """List the names on the hub in the config of a run; none where there is no run."""
    found: list[str] = []
    path = run / CONFIG
    if path.is_file():
        take = lambda name, value: found.append(value) if _may_be_on_hub(name, value) and on_hub(value) else None  # noqa: E731
        _each(yaml.safe_load(path.read_text()), take)
    return found


def _may_be_on_hub(name: str, value: Any) -> bool:
    return name in SOURCES and isinstance(value, str)


def check_plain(value: Any, name: str = "") -> None:
    """Refuse an option that would not survive writing and reading.

    Raises:
        ValueError: naming it.
    """
    if isinstance(value, Namespace):
        value = vars(value)
    if isinstance(value, Mapping):
        for key, of in value.items():
            check_plain(of, f"{name}.{key}".removeprefix("."))
    elif isinstance(value, list | tuple | set):
        for of in value:
            check_plain(of, f"{name}.{of.class_path}" if isinstance(of, Namespace) and "class_path" in of else name)
    elif not (value is None or isinstance(value, PLAIN_TYPES)):
        raise DistillError(
            f"{name} is {value!r}, an object that a config cannot hold; give a plain value, or leave its class out"
        )


def flat(config: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return each option of a config by its whole name, `model.init_args.temperature`."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and value and not before.endswith("init_args.game"):
            found |= flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found


def changes(before: str, after: str) -> list[str]:
    """Describe what differs between two configs of one run: `model.temperature 0.01 -> 0.5`.

    Raises:
        ValueError: for what cannot change in the midst of a run.
    """
    old, new = flat(yaml.safe_load(before)), flat(yaml.safe_load(after))
    differ = {name: (old.get(name), new.get(name)) for name in {**old, **new} if old.get(name) != new.get(name)}
    for name in differ:
        if name in FIXED or name.startswith("data.init_args.game."):
            then, now = differ[name]
            raise DistillError(f"{_short(name)} was {then} and is {now}; it cannot change in the midst of a run")
    return [f"{_short(name)} {then} -> {now}" for name, (then, now) in differ.items()]


def _short(name: str) -> str:
    return name.replace("init_args.", "")


def replace_config(run: Path, text: str, hours: float) -> None:
    """Write a run's config; one that differs stays beside it, named by the hours up to which it held."""
    path = run / CONFIG
    if path.is_file() and (before := path.read_text()) != text:
        write_atomically(path.with_name(f"config.until_hour{hours:g}.yaml"), before.encode())
    write_atomically(path, text.encode())


def repair_config(run: Path) -> None:
    """Write the config again under which the newest checkpoint was learned, if a killed run has left another."""
    path, _ = newest(run / "checkpoints")
    if path is None or not (run / CONFIG).is_file():
        return
    text = read_checkpoint(path).get(IN_CHECKPOINT)
    if isinstance(text, str) and text != (run / CONFIG).read_text():
        write_atomically(run / CONFIG, text.encode())
