"""A user's mistakes in one line each: what is wrong, and what is allowed."""

import difflib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import yaml
from jsonargparse import ArgumentParser, set_parsing_settings
from omegaconf import OmegaConf

from distill.errors import DistillError

_NOISE = re.compile(
    r"Does not validate against any of the Union|Subtypes: |Errors:$|Given value|Expected a <class 'NoneType'>"
    r"|Expected a path but|Type collections\.abc\.Callable"
)
CONFIG_PACKAGES = ("distill", "callbacks", "lightning", "torch")
"""Where the classes are that any config may name."""
_DENIED = re.compile(r"Importing '([\w.]+)' is not allowed, denied by .*? to allow it\.")


def one_line(message: str) -> str:
    """Take the reasons out of the parser's nested report."""
    if held := re.search(r"Unable to serialize instance (\S+)", message):
        held_by = f"an option is an object, {held[1]}, that a config cannot hold"
        return f"{held_by}; give a plain value, or leave its class out"
    lines = (line.strip().removeprefix("- ") for line in message.splitlines())
    kept = [line for line in lines if line and not _NOISE.match(line)]
    kept = [re.sub(r"Expected a <class '(\w+)'>\.?", r"expected \1.", line) for line in kept]
    kept = [_DENIED.sub(lambda denied: _why_denied(denied[1]), line) for line in kept]
    kept = [re.sub(r"Expected a typing\.Literal\[(.*)\]", r"one of \1;", line) for line in kept]
    given = re.search(r"Given value: (['\w.+-]+)$", message.strip())
    if given:
        kept.append(f"got {given[1]}")
    return " ".join(kept) or message


def _why_denied(name: str) -> str:
    """Describe why a config may not name a class: there is no such module, or it is of another package."""
    module = name.partition(".")[0]
    if module not in sys.stdlib_module_names and importlib.util.find_spec(module) is None:
        near = difflib.get_close_matches(module, [path.stem for path in Path.cwd().glob("*.py")], n=1)
        return f"there is no {module}.py here" + (f"; did you mean {near[0]}?" if near else "") + f" ({name})"
    allowed = f"{', '.join(CONFIG_PACKAGES)} and modules of the working directory"
    return f"'{name}' is not allowed in a config; allowed are classes of {allowed}."


def allow_classes() -> None:
    """Let configs name classes of ours, of Lightning, of PyTorch and of the working directory, and no others.

    What another name stands for is not even imported.
    """
    # `os.path.isfile`, for which what may not be looked into is none.
    here = {path.stem for path in Path.cwd().iterdir() if path.suffix == ".py" or os.path.isfile(path / "__init__.py")}
    own = {name for name in here - sys.stdlib_module_names if name.isidentifier()}
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=sorted({*CONFIG_PACKAGES, *own}))


def check_keys(config: str) -> None:
    """Refuse a config that names something twice, of which the parser would take the last without a word.

    And one that is no text.
    """
    try:
        OmegaConf.create(Path(config).read_text())
    except UnicodeDecodeError as error:
        raise DistillError(f"{config} is no config ({error})") from error
    except yaml.constructor.ConstructorError as error:
        twice = re.fullmatch(r"found duplicate key (.*)", error.problem or "")
        if twice and error.problem_mark:
            raise DistillError(
                f"{config} names {twice[1]} twice, the second time in line {error.problem_mark.line + 1}"
            ) from error
    except Exception:
        pass  # the parser says it better


class Parser(ArgumentParser):
    """A parser whose mistakes come as one line, without the usage of 400 options before it."""

    options_of: tuple[type, ...] = ()
    """Classes whose constructor arguments are options, for suggestions."""
    allowed_values: Mapping[str, Sequence[str]] = {}
    """Of options that take fewer than the parser knows."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the reason in one line."""
        wrong = re.match(r'Parser key "([\w.]+)":.*Given value: (\S+)', message, re.DOTALL)
        if wrong and wrong[1] in self.allowed_values:
            raise DistillError(f"{wrong[1]} is {wrong[2]}; allowed are {', '.join(self.allowed_values[wrong[1]])}")
        unknown = re.search(r"[Oo]ption '([\w.]+)' is not accepted|unrecognized arguments: --(\S+)", message)
        raise DistillError(one_line(message) + (self._allowed(unknown[1] or unknown[2]) if unknown else ""))

    def _allowed(self, unknown: str) -> str:
        owners = {name: owner for owner in reversed(self.options_of) for name in _options(owner)}
        near = difflib.get_close_matches(unknown.split(".")[-1], owners, n=1)
        if not near:
            return "; --print_config shows what is allowed"
        owner = owners[near[0]]
        return f"; did you mean {near[0]!r}? {owner.__name__} accepts {', '.join(_options(owner))}"


def _options(owner: type) -> list[str]:
    return [name for name in inspect.signature(owner).parameters]
