"""The door of the command line: a page of help that needs no library, and the way to each command."""

import difflib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

GROUPS = {
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
        "bench": "how fast this machine plays and learns",
    },
    "Bring and take": {
        "import-teacher": "another library's network as a file of ours",
        "export": "a student as ONNX or torch.export, checked",
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


def page() -> str:
    """Return the help that fits a screen."""
    lines = [PAGE]
    for title, commands in GROUPS.items():
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
    known = [name for group in GROUPS.values() for name in group]
    if not args[0].startswith("-") and args[0] not in known:
        near = difflib.get_close_matches(args[0], known, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        print(f"error: there is no command {args[0]}{meant}; commands are {', '.join(known)}", file=sys.stderr)
        sys.exit(2)
    # Seconds pass while PyTorch is imported, and Lightning, where it is needed.
    try:
        from distill import commands

        if args[0] not in commands.COMMANDS:
            from distill import fit
    except KeyboardInterrupt:
        sys.exit(130)  # nothing has begun
    if args[0] in commands.COMMANDS:
        commands.run(args[0], args[1:], rehearse)
    else:
        fit.main(args)


def rehearse(options: Sequence[str]) -> Mapping[str, Any]:
    """See `distill.fit.rehearse`."""
    from distill import fit

    return fit.rehearse(options)
