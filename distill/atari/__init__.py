"""The emulator: environments, starts, and replayed starts."""
