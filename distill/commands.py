"""Commands that need no Trainer: functions, whose arguments are options."""

import ast
import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_origin

import docstring_parser

from distill.console import configs
from distill.console.mistakes import Parser, one_line
from distill.console.quiet import quieten
from distill.errors import DistillError

COMMANDS = {
    "bench": "tools.bench.measure",
    "draw-starts": "tools.make_starts",
    "evaluate": "tools.evaluate",
    "export": "tools.export",
    "export-hours": "tools.export_hours",
    "import-starts": "tools.make_starts",
    "import-teacher": "tools.import_teacher",
    "online": "jobs.online",
    "record": "tools.record",
    "report": "report.command",
    "reproduce": "jobs.reproduce",
    "status": "tools.status",
    "sweep": "jobs.sweep",
}
"""Each command, and the module with its function; what the others need is not imported."""
FORWARDING = {"online": ("teacher", "student"), "reproduce": ("fit",), "sweep": ("fit",)}
"""Commands that take options of `fit`, after each of these words: `--fit.model.network net3`."""


def words_of(name: str) -> tuple[list[str], list[str]]:
    """Return a command's options, and the words with which those of another command begin that it takes.

    They are read from the source of its function: to import that takes seconds.

    Args:
        name: One of `COMMANDS`.
    """
    source = Path(__file__).parent / f"{COMMANDS[name].replace('.', '/')}.py"
    module = ast.parse(source.read_text(encoding="utf-8"))
    functions = {node.name: node.args for node in module.body if isinstance(node, ast.FunctionDef)}
    of = functions[name.replace("-", "_")]
    words = FORWARDING.get(name, ())
    own = [one.arg for one in (*of.args, *of.kwonlyargs) if one.arg not in map(argument_of, words)]
    return ["config", "help", "print_config", *own], list(words)


def argument_of(word: str) -> str:
    """Return the argument of a command's function that takes the options of `fit` after a word of `FORWARDING`."""
    return f"{word}_options"


def run_command(name: str, args: list[str]) -> None:
    """Run a command; what it refuses is the user's mistake.

    Its first argument, where it has no default and no star before it, or a slash after it, stands without a name; all
    others are options, which may stand in a file, too: `--config FILE`.

    Args:
        name: One of `COMMANDS`.
        args: The rest of the command line.
    """
    quieten()
    try:
        function: Callable[..., Any] = getattr(import_module(f"distill.{COMMANDS[name]}"), name.replace("-", "_"))
    except KeyboardInterrupt:
        raise DistillError("interrupted", code=130) from None
    parameters = inspect.signature(function).parameters
    said = docstring_parser.parse(function.__doc__)
    helps = {parameter.arg_name: parameter.description for parameter in said.params}
    parser = Parser(prog=f"python -m distill {name}", description=said.description or "", allow_abbrev=False)
    parser.add_argument("--config", action="config", help="A file with options, by name.")
    first = next(iter(parameters.values()))
    required = first.default is first.empty
    stands_alone = first.kind is first.POSITIONAL_ONLY or (first.kind is first.POSITIONAL_OR_KEYWORD and required)
    positional = {first.name} if stands_alone else set()
    for one in positional:
        kind = parameters[one].annotation
        several = get_origin(kind) is list
        how: dict[str, Any] = {} if required else {"default": first.default, "nargs": "*" if several else "?"}
        how |= {"nargs": "+"} if several and required else {}
        parser.add_argument(one, type=get_args(kind)[0] if several else kind, help=helps[one], **how)
    forwarded = {}
    for word in FORWARDING.get(name, ()):
        args, forwarded[argument_of(word)] = divide(args, f"--{word}.")
    parser.add_function_arguments(function, as_group=False, skip={*positional, *forwarded})
    flags = {one for one, parameter in parameters.items() if parameter.annotation is bool}
    for action in parser._actions:
        if action.dest in flags:
            action.nargs, action.const = "?", True
    try:
        args = configs.with_found(configs.with_plain_values(args))
        try:
            given = parser.parse_args(args).as_dict()
        except ValueError as error:
            raise DistillError(parser.explain(str(error), args)) from error
        given.pop("config")
        alone = [given.pop(one) for one in positional]
        function(*alone, **given, **forwarded)
    except DistillError:
        raise
    except ValueError as error:
        raise DistillError(one_line(str(error))) from error
    except OSError as error:
        raise DistillError(str(error), code=1) from error
    except KeyboardInterrupt:
        raise DistillError("interrupted", code=130) from None


def divide(args: Sequence[str], prefix: str) -> tuple[list[str], list[str]]:
    """Divide a command line: what belongs to this command, and the options of another that have a prefix.

    Args:
        args: All of it.
        prefix: Such as `--teacher.`; the options lose it: `--teacher.data.seed 1` is `--data.seed 1`. A value may stand
            in a word of its own.
    """
    kept: list[str] = []
    others: list[str] = []
    wants_value = False
    for arg in args:
        if arg.startswith(prefix):
            others.append("--" + arg.removeprefix(prefix))
            wants_value = "=" not in arg
        elif wants_value and not arg.startswith("--"):
            others.append(arg)
            wants_value = False
        else:
            kept.append(arg)
            wants_value = False
    return kept, others
