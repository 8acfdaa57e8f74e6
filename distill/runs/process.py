"""Which of a run's processes this is."""

import os

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID")


def rank() -> int:
    """Return the rank of this process in its run, as torchrun, srun or the Trainer that started it has it."""
    return int(next((os.environ[name] for name in RANK_VARIABLES if name in os.environ), 0))
