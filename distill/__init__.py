"""Policy distillation on PyTorch Lightning: play -> store -> learn -> score.

Axis letters, the same in every signature:

    B batch · A actions · K stacked frames · H, W pixels · N environments · T steps in a row · S runs of steps

Words: a *frame* is one emulator frame, 60 a simulated second; a *step* is one decision, 4 frames; an *hour* is 54,000
steps; an *update* is one optimiser step on one minibatch; a *block* is the minibatches of one `training_step`; an
*episode* runs from reset to end; a *score* is its undiscounted, unclipped sum of rewards; a *label* is the teacher's
output for a stored observation. Lightning's `global_step` counts updates, its epoch is an hour.

From Python: `distill.StudentModule`, `distill.TeacherModule`, `distill.ReplayDataModule`, `distill.load_network`,
`distill.save_report` and `distill.evaluate`, each imported when it is asked for.
"""

from importlib import import_module
from typing import Any

PUBLIC = {
    "StudentModule": "distill.student",
    "TeacherModule": "distill.teacher",
    "ReplayDataModule": "distill.data",
    "load_network": "distill.weights.load",
    "save_report": "distill.runs.results",
    "evaluate": "distill.tools.evaluate",
}
"""The public names, and the modules that define them."""
__all__ = list(PUBLIC)  # strings, which the linter does not see


def __getattr__(name: str) -> Any:
    if name in PUBLIC:
        return getattr(import_module(PUBLIC[name]), name)
    raise AttributeError(f"module distill has no attribute {name!r}; it has {', '.join(PUBLIC)}")


def __dir__() -> list[str]:
    return [*globals(), *PUBLIC]
