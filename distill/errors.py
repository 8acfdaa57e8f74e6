"""What goes wrong, in one line: library code raises it, the command line prints it and exits."""

MISTAKE_CODE = 2
"""What a process ends with after a mistake: an option that is wrong, nothing that has happened."""


class DistillError(ValueError):
    """A mistake, or something that failed: what is wrong, and what is allowed or how to go on.

    Args:
        message: One line.
        code: What the command line exits with: 2 for a mistake, 1 for what failed, 128 and more for a signal.
    """

    code = MISTAKE_CODE

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
