"""Sweeps, in the format of Weights & Biases, run here."""
