"""The door of the command line: a page of help that needs no library, and the way to each command."""

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module

from distill.console import configs
from distill.console.note import note
from distill.errors import DistillError
from distill.runs.process import rank

COMMAND_GROUPS = {
    "Learn": {
        "fit": "train a teacher, or distil one into a student",
        "online": "a teacher that learns, and its students beside it",
        "sweep": "the points of a Weights & Biases sweep, here",
        "reproduce": "a table of the paper",
    },
    "Look": {
        "evaluate": "score a network, from no-op or recorded starts; film it",
        "validate": "score a checkpoint as its own run does",
        "report": "runs as tables and figures, beside the paper's",
        "status": "how far runs are, and what stopped them",
        "bench": "how fast this machine plays and learns",
    },
    "Bring and take": {
        "import-teacher": "another library's network as a file of ours",
        "export": "a student as ONNX or torch.export, checked",
        "export-hours": "a teacher's recorded play as a Minari dataset",
        "record": "play a game yourself",
        "import-starts": "starts from people's play",
        "draw-starts": "starts from a network's play",
    },
}
"""Every command, and what it does."""

PAGE = """\
python -m distill COMMAND ...     COMMAND --help says more
Try, for ten minutes on two cores:
  fit --config compress           distil a Pong teacher into 4% of its size
  evaluate pong --video pong.mp4  score that teacher and film it
  fit --model.help StudentModule  what can be said of a student; and --data.help
"""


SIGNALLED = 128
"""Above it, a process ends with the number of the signal that it was asked to stop by: no error."""
WORDS = (
    *("config", "seed_everything", "trainer", "model", "data", "run_dir", "resume", "ckpt_path", "weights_only"),
    *("help", "print_config"),
)
TRAINERS_WORDS = {"fit": WORDS, "validate": (*WORDS, "verbose")}
"""The words with which the options of the Trainer's commands begin."""


def page() -> str:
    """Return the help that fits a screen."""
    lines = [PAGE]
    for title, commands in COMMAND_GROUPS.items():
        lines += [f"{title}:", *(f"  {name:15} {what}" for name, what in commands.items())]
    return "\n".join(lines)


def main(args: list[str] | None = None) -> None:
    """Run a command.

    Args:
        args: The command line without the program's name; None takes `sys.argv`.
    """
    args = sys.argv[1:] if args is None else args
    if args in ([], ["-h"], ["--help"]):
        print(page())
        sys.exit(0 if args else 2)
    try:
        run(args)
    except DistillError as error:
        # What failed may have failed in one process alone; of a mistake, and of a signal, all of a run's know.
        if rank() == 0:
            print(error if error.code > SIGNALLED else f"error: {error}", file=sys.stderr)
        elif error.code == 1:
            print(f"error: process {rank()}: {error}", file=sys.stderr)
        sys.exit(error.code)


def run(args: list[str]) -> None:
    """Run the command that was typed.

    Raises:
        DistillError: for a mistake, for what failed, and for a signal.
    """
    check_words(args)
    # Seconds pass while PyTorch is imported, and Lightning, where it is needed.
    try:
        with note(f"distill {args[0]}: loading PyTorch ..."):
            from distill import commands

            if args[0] in commands.COMMANDS:
                import_module(f"distill.{commands.COMMANDS[args[0]]}")
            else:
                from distill import fit
    except KeyboardInterrupt:
        sys.exit(130)  # nothing has begun
    if args[0] in commands.COMMANDS:
        commands.run_command(args[0], args[1:])
    else:
        fit.run_fit(args)


def check_words(args: Sequence[str], prefix: str = "") -> None:
    """Refuse a command, an option's first word and a config that are not there.

    What is right so far goes to the command's parser, which knows the rest; but that takes seconds to make.

    Args:
        args: A command, and what follows.
        prefix: Of its options, where they stand among those of another command.

    Raises:
        ValueError: naming what is near or, where nothing is, what there is.
    """
    name, options = args[0], list(args[1:])
    if name.startswith("-"):
        return
    known = [name for group in COMMAND_GROUPS.values() for name in group]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise DistillError(f"there is no command {name}{meant}; commands are {', '.join(known)}")
    words: Sequence[str] = TRAINERS_WORDS.get(name, ())
    if not words:
        from distill import commands

        own, forwarded = commands.words_of(name)
        for one in forwarded:
            options, others = commands.divide(options, f"--{one}.")
            check_words(["fit", *others], f"{one}.")
        words = [*own, *forwarded]
    for option in options:
        word = option.removeprefix("--").partition("=")[0].partition(".")[0].rstrip("+")
        if not option.startswith("--") or not word or word in words:
            continue
        near = [one for one in words if one.startswith(word)] or difflib.get_close_matches(word, words, 1, 0.7)
        if near:
            given = option.partition("=")[0]
            meant = f"--{prefix}{near[0]}{given.removeprefix('--' + word)}"
            raise DistillError(f"there is no option --{prefix}{given.removeprefix('--')}; did you mean {meant}?")
        if name not in TRAINERS_WORDS:
            raise DistillError(f"there is no option {option}; options are {', '.join(f'--{one}' for one in words)}")
    configs.with_found(options)
