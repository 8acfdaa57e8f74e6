"""The configs that come along, by name: from a checkout's conf/, or from the copy inside an installed wheel."""

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

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
        ValueError: where it is neither, and as `read_config`.
    """
    path = Path(config).expanduser()
    if path.exists() and not path.is_dir():
        read_config(path)
        return config
    if config in names():
        return str(CONF / f"{config}.yaml")
    near = difflib.get_close_matches(config.removeprefix("conf/").removesuffix(".yaml"), names(), n=1)
    meant = f"; did you mean {near[0]}?" if near else f": {', '.join(names())}"
    raise DistillError(f"config {config} is no file, nor one of those that come along{meant}")


def read_config(config: Path) -> yaml.MappingNode:
    """Read the options by name that a config is, with their lines.

    Raises:
        ValueError: for a file that is none, which names something twice, too, of which parsers take the last.
    """
    try:
        root = yaml.compose(config.read_text(encoding="utf-8"), yaml.SafeLoader)
    except (UnicodeDecodeError, yaml.reader.ReaderError, RecursionError) as error:
        raise DistillError(f"{config} is no config ({str(error).splitlines()[0]})") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DistillError(f"{config}, line {line}: no YAML ({error.problem or error.context})") from error
    if not isinstance(root, yaml.MappingNode):
        what = "empty" if root is None else "a list" if isinstance(root, yaml.SequenceNode) else "one value"
        raise DistillError(f"{config} is {what}; a config has options by name, such as `data:` and `model:`")
    for node in _mappings(root):
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise DistillError(f"{config} names {name} twice, the second time in line {key.start_mark.line + 1}")
            seen.add(name)
    return root


def _mappings(node: yaml.Node) -> Iterator[yaml.MappingNode]:
    if isinstance(node, yaml.MappingNode):
        yield node
    for child in node.value if isinstance(node, yaml.CollectionNode) else ():
        for part in child if isinstance(child, tuple) else (child,):
            yield from _mappings(part)


def named_in(args: Sequence[str]) -> list[str]:
    """List the configs that a command line names."""
    return [value for option in CONFIG_OPTIONS for value in values_of(args, option)]


def values_of(args: Sequence[str], option: str) -> list[str]:
    """List what a command line gives for an option."""
    pairs = zip(args, [*args[1:], ""], strict=True)
    return [part.partition("=")[2] or following for part, following in pairs if part.partition("=")[0] == option]


def place_of(option: str, args: Sequence[str]) -> str:
    """Return `FILE, line N: ` of the config that gives an option; nothing where the command line does, or none.

    Args:
        option: Such as `data.batch_size`.
        args: The command line.
    """
    if option and not any(arg.partition("=")[0].rstrip("+") == f"--{option}" for arg in args):
        for config in reversed(named_in(args)):
            if line := _line_of(option.split("."), read_config(Path(config).expanduser())):
                return f"{config}, line {line}: "
    return ""


def _line_of(words: Sequence[str], node: yaml.Node) -> int | None:
    """Return the line in which a node's part begins; between the words of its name others may be left out."""
    if isinstance(node, yaml.SequenceNode):
        found = (_line_of(words, part) for part in node.value)
        return next((line for line in found if line), None)
    if not isinstance(node, yaml.MappingNode):
        return None
    parts = {str(key.value): (key, value) for key, value in node.value}
    if words[0] not in parts:
        return _line_of(words, parts["init_args"][1]) if "init_args" in parts else None
    key, value = parts[words[0]]
    return _line_of(words[1:], value) if words[1:] else key.start_mark.line + 1


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
