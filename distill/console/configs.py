"""The configs that come along, by name: from a checkout's conf/, or from the copy inside an installed wheel."""

import difflib
import re
from pathlib import Path

from distill.errors import DistillError

_PACKAGE = Path(__file__).parent.parent
_PLACES = (_PACKAGE / "conf", _PACKAGE.parent / "conf")
CONF = next((place for place in _PLACES if place.is_dir()), _PLACES[0])
"""The folder where they are."""
CONFIG_OPTIONS = ("--config", "-c")


def names() -> list[str]:
    """List them: `compress`, `logger/wandb`, and so on; not those of runs whose results are kept there."""
    found = (path.relative_to(CONF).with_suffix("") for path in CONF.rglob("*.yaml"))
    return sorted(str(name) for name in found if name.parts[0] != "results")


def find_config(config: str) -> str:
    """Return where a config is: a file as it was given or, where there is none, the one of that name that comes along.

    Args:
        config: A path, or one of `names()`.

    Raises:
        ValueError: where it is neither.
    """
    path = Path(config).expanduser()
    if path.exists() and not path.is_dir():
        return config
    if config in names():
        return str(CONF / f"{config}.yaml")
    near = difflib.get_close_matches(config.removeprefix("conf/").removesuffix(".yaml"), names(), n=1)
    meant = f"; did you mean {near[0]}?" if near else f": {', '.join(names())}"
    raise DistillError(f"config {config} is no file, nor one of those that come along{meant}")


def with_plain_values(args: list[str]) -> list[str]:
    """Write null for Python's `None`, which would be a name, and `1e9` as the whole number that it is."""
    found = list(args)
    for at, arg in enumerate(args):
        option, equals, value = arg.partition("=")
        if equals and option.startswith("--"):
            found[at] = f"{option}={_as_plain(value)}"
        elif at and args[at - 1].startswith("--") and "=" not in args[at - 1]:
            found[at] = _as_plain(arg)
    return found


def _as_plain(value: str) -> str:
    if value == "None":
        return "null"
    if re.fullmatch(r"\d+(\.\d+)?[eE]\+?\d{1,2}", value) and float(value).is_integer():
        return str(int(float(value)))
    return value


def with_found(args: list[str]) -> list[str]:
    """Put paths where a command line gives the names of configs that come along.

    Raises:
        ValueError: as `find`.
    """
    found = list(args)
    for at, arg in enumerate(args):
        option, equals, value = arg.partition("=")
        if option not in CONFIG_OPTIONS:
            continue
        if equals:
            found[at] = f"{option}={find_config(value)}"
        elif at + 1 < len(args):
            found[at + 1] = find_config(args[at + 1])
    return found
