"""A run's config: written beside what was learned under it, compared and repaired where the run goes on."""

import os
from collections.abc import Iterator, Mapping, Sequence
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
    return yaml.safe_dump(_absolute(found), sort_keys=False)


def _absolute(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        inside = "teacher" if name == "game" else None  # several games: a teacher each
        return {key: _absolute(of, inside or key) for key, of in value.items()}
    if isinstance(value, list):
        return [_absolute(of, name) for of in value]
    if name not in PATHS or not isinstance(value, str) or value in shipped():
        return value
    return str(Path(value).absolute()) if name == "store" or Path(value).exists() else value


def pin_sources(config: Any, known: Sequence[str] = (), name: str = "") -> Any:
    """Put the file and the commit into each name on the hub, so that a run takes the same bytes whenever it goes on.

    Args:
        config: Options, changed in place; or one of them.
        known: Pinned names that a run which goes on had before, which hold unless a revision is asked for.
        name: Of the option.

    Returns:
        What was given, pinned.

    Raises:
        ValueError: as `distill.weights.hub.hub_file`.
    """
    if isinstance(config, Namespace | dict):
        inside = "teacher" if name == "game" else None  # several games: a teacher each
        for key, of in list((vars(config) if isinstance(config, Namespace) else config).items()):
            config[key] = pin_sources(of, known, inside or key)
    if isinstance(config, list):
        return [pin_sources(of, known, name) for of in config]
    return pinned(config, known) if name in SOURCES and isinstance(config, str) else config


def known_sources(run: Path) -> list[str]:
    """List the names on the hub in the config of a run; none where there is no run."""
    path = run / CONFIG
    return list(_on_hub_in(yaml.safe_load(path.read_text()))) if path.is_file() else []


def _on_hub_in(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, of in value.items():
            yield from _on_hub_in(of, "teacher" if name == "game" else key)
    elif isinstance(value, list):
        for of in value:
            yield from _on_hub_in(of, name)
    elif name in SOURCES and isinstance(value, str) and on_hub(value):
        yield value


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
