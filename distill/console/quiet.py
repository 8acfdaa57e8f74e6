"""Advice of the libraries below that does not apply here."""

import logging
import os
import warnings


def quieten() -> None:
    """Keep such advice out of the output."""
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # 5.0 renames what Lightning 2.6 calls
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators.cuda", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        # No worker processes here: they could not share the environments.
        ".*does not have many workers.*",
        "Your `IterableDataset` has `__len__` defined.*",
        # https://github.com/Lightning-AI/pytorch-lightning/issues/21430
        ".*isinstance\\(treespec, LeafSpec\\).*",
        # The run's folder is claimed before its logger opens.
        "Experiment logs directory .* exists and is not empty.*",
        # A run that goes on writes into its own folder.
        "Checkpoint directory .* exists and is not empty.*",
        # Scoring saves nothing.
        "Be aware that when using `ckpt_path`, callbacks used to create the checkpoint.*",
        # A short hour has fewer blocks than that.
        "The number of training batches .* is smaller than the logging interval.*",
        # The first process's metrics stand for all; what differs between them are games that they play.
        "It is recommended to use `self.log.*sync_dist=True.*",
        # It is: an hour that was broken off goes on with the block that it had come to.
        "You're resuming from a checkpoint that ended before the epoch ended.*",
    ):
        warnings.filterwarnings("ignore", message=message)
