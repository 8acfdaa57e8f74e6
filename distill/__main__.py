"""`python -m distill COMMAND`: see `distill.cli`."""

import os

# How long the threads of a finished computation wait for the next one before they sleep. OpenMP's own 300,000 rounds,
# 6 ms, take the cores from the emulators that run in between. With 10,000 play is 1.15 to 1.3 times as fast; the full
# network learns as fast as before, the smallest is up to a tenth slower, so that its hours take as long as before.
# Read once, before PyTorch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from distill.cli import main

if __name__ == "__main__":
    main()
