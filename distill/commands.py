"""Commands that need no Trainer: functions, whose arguments are options."""

import inspect

import docstring_parser

from distill.bench import bench
from distill.evaluate import evaluate
from distill.make_starts import draw_starts, import_starts
from distill.mistakes import Parser, fail, one_line
from distill.record import record

COMMANDS = {
    "bench": bench,
    "draw-starts": draw_starts,
    "evaluate": evaluate,
    "import-starts": import_starts,
    "record": record,
}


def run(name: str, args: list[str]) -> None:
    """Run a command; what it refuses is the user's mistake.

    Its first argument, where it has no default, stands without a name; all others are options.

    Args:
        name: One of `COMMANDS`.
        args: The rest of the command line.
    """
    function = COMMANDS[name]
    parameters = inspect.signature(function).parameters
    said = docstring_parser.parse(function.__doc__)
    helps = {parameter.arg_name: parameter.description for parameter in said.params}
    parser = Parser(prog=f"python -m distill {name}", description=said.description, allow_abbrev=False)
    first = next(iter(parameters))
    positional = {first} if parameters[first].default is inspect.Parameter.empty else set()
    for one in positional:
        parser.add_argument(one, type=parameters[one].annotation, help=helps[one])
    parser.add_function_arguments(function, as_group=False, skip=positional)
    flags = {one for one, parameter in parameters.items() if parameter.annotation is bool}
    for action in parser._actions:
        if action.dest in flags:
            action.nargs, action.const = "?", True
    try:
        function(**parser.parse_args(args).as_dict())
    except ValueError as error:
        fail(one_line(str(error)))
    except KeyboardInterrupt:
        fail("interrupted", code=130)
