"""`python -m distill COMMAND`: see `distill.cli`."""

import os

# How long the threads of a finished computation wait for the next one before they sleep. OpenMP's own 300,000 rounds,
# 6 ms, take the cores from the emulators that run in between: play is 1.15 to 1.2 times as fast with 10,000, and
# learning no slower. Read once, before PyTorch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from distill.cli import main

if __name__ == "__main__":
    main()
