"""A long run in small: memory, threads and open files stay what they were.

pytest -n 0 -m slow -s tests/slow
"""

import gc

import lightning as L
import psutil
import pytest

from distill.data import ReplayDataModule
from distill.runs.checkpoints import Checkpoints, SealedFiles
from distill.runs.signals import Signals
from distill.student import StudentModule
from tests.distill.test_data import fit

pytestmark = pytest.mark.slow
HOURS = 200
FULL = 20
"""By then the memory is full, and whatever is made once has been made."""


class Watching(L.Callback):
    """Notes what the process takes: MB, threads, open files."""

    def __init__(self):
        self.taken = {}

    def on_train_epoch_end(self, trainer, module):
        hour = trainer.current_epoch + 1
        if hour in (FULL, HOURS):
            gc.collect()
            process = psutil.Process()
            self.taken[hour] = (process.memory_info().rss / 1e6, process.num_threads(), process.num_fds())


def test_200_hours(make_teacher, small, tmp_path):
    """After 200 hours of play, learning, scoring and checkpoints it takes what it took after 20: within 8 MB."""
    hours = {
        "hour_steps": 40,
        "updates_per_hour": 4,
        "memory_hours": 5,
        "eval_episodes": 1,
        "max_frames": 80,
        "num_envs": 2,
    }
    data, watching = ReplayDataModule("pong", make_teacher("pong"), **{**small, **hours}), Watching()
    with Signals() as signals:
        saving = Checkpoints(tmp_path / "run" / "checkpoints", signals)
        kept = {"enable_checkpointing": True, "limit_val_batches": 1.0, "plugins": [SealedFiles()]}
        fit(StudentModule("pong"), data, HOURS, callbacks=[watching, saving], default_root_dir=tmp_path, **kept)
    (before, *counts), (after, *counts_after) = watching.taken[FULL], watching.taken[HOURS]
    print(
        f"\nsoak: {HOURS} hours; resident memory {before:.1f} MB after {FULL} and {after:.1f} MB at the end; threads "
        f"and open files {counts} and {counts_after}"
    )
    assert after - before < 8
    assert counts_after == counts
