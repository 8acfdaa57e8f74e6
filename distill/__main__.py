"""`python -m distill COMMAND`, and `distill COMMAND`: see `distill.cli`."""

import atexit
import gc
import os

# How long the threads of a finished computation wait for the next one before they sleep. OpenMP's own 300,000 rounds,
# 6 ms, take the cores from the emulators that run in between. With 10,000 play is 1.15 to 1.3 times as fast; the full
# network learns as fast as before, the smallest is up to a tenth slower, so that its hours take as long as before.
# Read once, before PyTorch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from distill.cli import main

# At its end the interpreter searches all objects of all libraries for those that only hold each other: a second of CPU
# time for which a process outlives its last line, on a busy machine a minute. Frozen, they are passed by.
atexit.register(gc.freeze)

if __name__ == "__main__":
    main()
