"""A run of `fit`: its folder, its checkpoints and curves, its process, and how it is stopped."""
