"""A user's mistakes in one line each: what is wrong, and what is allowed."""

import difflib
import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from jsonargparse import ArgumentParser, set_parsing_settings

from distill.console import configs
from distill.errors import DistillError

CONFIG_PACKAGES = ("distill", "callbacks", "lightning", "torch")
"""Where the classes are that any config may name."""


class Parser(ArgumentParser):
    """A parser whose mistakes come as one line, without the usage of 400 options before it."""

    options_of: Mapping[str, tuple[type, ...]] = {}
    """By an option's first word, the classes whose constructor arguments may follow it."""
    allowed_values: Mapping[str, Sequence[str]] = {}
    """Of options that take fewer than the parser knows."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what is wrong; the parser around this one may add to it."""
        raise DistillError(message)

    def explain(self, message: str, args: Sequence[str]) -> str:
        """Return the reason in the nested report of a mistake in one line.

        Args:
            message: The report.
            args: The command line.
        """
        option = ".".join(re.findall(r'Parser key "([\w.]+)"', message))
        if unknown := re.search(r"[Oo]ption '([\w.]+)' is not accepted|unrecognized arguments: --([\w.]+)", message):
            option = ".".join(part for part in (option, unknown[1] or unknown[2]) if part)
            reason = f"there is no option {option}{self._near(option, message)}"
        elif option in self.allowed_values and (given := re.search(r"Given value: (\S+)", message)):
            reason = f"{option} is {given[1]}; allowed are {', '.join(self.allowed_values[option])}"
        else:
            reason = one_line(message)
        return configs.place_of(option, args) + reason

    def _near(self, option: str, message: str) -> str:
        """Suggest an option for one that is unknown, of the class that it was given to."""
        word, *between, name = option.split(".") if "." in option else ("", option)
        classes = () if between else self.options_of.get(word, ())
        if held := re.search(r"'class_path': '(?:([\w.]+)\.)?(\w+)', 'init_args': {[^{}]*'" + re.escape(name), message):
            places = [held[1]] if held[1] else ["lightning.pytorch.callbacks", "lightning.pytorch.loggers"]
            found = (getattr(importlib.import_module(place), held[2], None) for place in places)
            classes = tuple(one for one in found if one)
        for one in classes:
            options = list(inspect.signature(one).parameters)
            if near := difflib.get_close_matches(name, options, n=3):
                return f"; did you mean {' or '.join(near)}?"
        return "; --print_config shows what is allowed"


def one_line(message: str) -> str:
    """Return the reason in the parser's nested report in one line."""
    option = ".".join(re.findall(r'Parser key "([\w.]+)"', message))
    prefix = f"{option}: " if option else ""
    class_path = (re.findall(r"given class_path '([\w.]+)'", message) or [""])[-1]
    if held := re.search(r"Unable to serialize instance (\S+)", message):
        return (
            f"an option is an object, {held[1]}, that a config cannot hold; give a plain value, or leave its class out"
        )
    if needs := re.search(r"Requirement '(.+?)' not met", message):
        return f"{prefix}{class_path} needs a package that is not installed: {needs[1]}"
    if denied := re.search(r"Importing '([\w.]+)' is not allowed", message):
        return prefix + _why_denied(denied[1])
    if missing := re.search(r"Expected a dot import path string: (\S+)", message):
        return f"{prefix}there is no class {missing[1]}; give its whole name, such as package.module.Class"
    if re.search(r"module '[\w.]+' has no attribute", message):
        return f"{prefix}there is no class {class_path}"
    if missing := re.search(r"arguments are required: ([\w., ]+)", message):
        return f"{prefix}required, but not given: {missing[1]}"
    innermost = _innermost(message)
    found = re.search(r"Subtypes: \[(.*)\]$", innermost, re.MULTILINE)
    expected = [found[1]] if found else re.findall(r"Expected a (.+?)\.? ?(?:Got value|$)", innermost, re.MULTILINE)
    given = re.search(r"(?:Given|Got) value: (.*)$", innermost, re.MULTILINE)
    if expected and not class_path and option:
        kinds = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", ", ".join(dict.fromkeys(expected)))
        kinds = re.sub(r"typing\.Literal\[(.*?)\]", r"one of \1", kinds).replace("NoneType", "null")
        return f"{option} is {given[1] if given else 'of another kind'}; allowed: {kinds}"
    lines = (line.strip().removeprefix("- ") for line in innermost.splitlines())
    said = [line for line in lines if not re.match(r"Expected a |Given value|Subtypes: |Errors:|Does not val", line)]
    text = " ".join(said).strip() or message
    return re.sub(r"^Problem with given class_path '([\w.]+)':", rf"{prefix}\1:", text)


def _innermost(message: str) -> str:
    """Return the part of a report that is about the innermost option or class: what is indented below its line."""
    lines = message.splitlines()
    heads = [at for at, line in enumerate(lines) if re.search(r'Parser key "|Problem with given class_path', line)]
    first = heads[-1] if heads else 0
    indents = [len(line) - len(line.lstrip()) for line in lines]
    below = range(first + 1, len(lines))
    end = next((at for at in below if heads and lines[at] and indents[at] <= indents[first]), len(lines))
    return "\n".join(lines[first:end])


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
