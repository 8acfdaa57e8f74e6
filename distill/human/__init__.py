"""People's play: a window to play in, the log of it, and the starts drawn from it."""
