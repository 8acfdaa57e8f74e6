"""Counted randomness: every generator is made from what it is for, none is carried along or saved.

A run that was killed and resumed draws what it would have drawn, because hour 7's minibatches depend on
(run seed, "minibatch", game, rank, 7) and on nothing that was drawn before.
"""

import zlib

import numpy as np


def generator(seed: int, purpose: str, *counters: int | str) -> np.random.Generator:
    """Make the generator for one purpose at one place of a run.

    Args:
        seed: The run's seed, 0 or more.
        purpose: What the numbers are for, e.g. `"minibatch"`.
        counters: Where in the run: game, rank, hour, block, episode; numbers of 0 or more, or names.

    Returns:
        The same generator for the same arguments, on every machine; independent ones for different arguments.
    """
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in (purpose, *counters)]
    # Their number comes first: a seed sequence takes trailing zeros for nothing.
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([len(words), seed, *words])))
