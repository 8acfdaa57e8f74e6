"""The same play in our memory, and in the compressed buffers that Stable-Baselines3's documentation names."""

import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gymnasium
import numpy as np
import torch

from distill import protocol
from distill.atari.cartridge import num_actions
from distill.atari.environments import Atari
from distill.engine import frozen_policy
from distill.randomness import generator
from distill.replay import Memory, Steps
from distill.rollout import Step, collect, in_turn, play
from distill.tools.bench.turns import Budget, Rate, Turn, take_turns
from distill.weights.load import load_network

BUFFER_ENVS = 10
FEWEST_STEPS, MOST_STEPS = 150, 600
"""Of each environment."""
BATCH = 32


class CompressedBuffer:
    """The replay buffer of sb3-extra-buffers, as its own benchmark sets it up, by zstd at level 1.

    Args:
        length: Steps of each environment.
        num_envs: Environments, N.
        num_actions: Legal actions.

    Raises:
        ImportError: where it is not installed.
    """

    def __init__(self, length: int, num_envs: int, num_actions: int) -> None:
        logging.getLogger("sb3_extra_buffers").setLevel(logging.ERROR)  # it says what else could be installed
        module = importlib.import_module("sb3_extra_buffers.compressed")
        pixels = gymnasium.spaces.Box(0, 255, (protocol.STACKED_FRAMES, *[protocol.FRAME_SIZE] * 2), np.uint8)
        self.buffer: Any = module.CompressedReplayBuffer(
            length * num_envs,
            pixels,
            gymnasium.spaces.Discrete(num_actions),
            device="cpu",
            n_envs=num_envs,
            optimize_memory_usage=True,
            handle_timeout_termination=False,
            dtypes=module.find_buffer_dtypes(pixels.shape),
            compression_method="zstd1",
        )

    def add(self, step: Step, following: Step) -> None:
        """Add a step of all environments."""
        seen = step.observations, following.observations
        self.buffer.add(*seen, step.actions, step.rewards, step.ended, [{} for _ in step.actions])

    def sample(self) -> int:
        """Draw a minibatch: observations, and those that followed."""
        self.buffer.sample(BATCH)
        return 1

    @property
    def bytes_per_state(self) -> float:
        """What it takes for a step, as its benchmark counts: `sys.getsizeof` of all observations, and nothing else."""
        kept = self.buffer.observations
        return (sys.getsizeof(kept) + sum(map(sys.getsizeof, kept.ravel()))) / kept.size


def compare_buffers(game: str, rate: float, budget: Budget) -> tuple[dict[str, Rate], dict[str, float]]:
    """Put a shipped teacher's play into both, and draw from them in turns, in one thread each.

    Args:
        game: ALE name.
        rate: Steps of play a second, about.
        budget: Of this part.

    Returns:
        Minibatches a second, by contestant, and bytes a step, by buffer.
    """
    length = min(max(int(rate * budget.seconds / 4) // BUFFER_ENVS, FEWEST_STEPS), MOST_STEPS)
    theirs = CompressedBuffer(length, BUFFER_ENVS, num_actions(game))
    memory = Memory(length, BUFFER_ENVS, num_actions(game), game)
    memory.extend(play_into(theirs, game, length))
    rng, threads = np.random.default_rng(0), torch.get_num_threads()

    def minibatch() -> int:
        memory.minibatch(rng, BATCH)
        return 1

    def transitions() -> int:
        memory.transitions(rng, BATCH, 1)
        return 1

    # Neither unpacks in several threads. Theirs then copies with all that PyTorch has, which on a busy machine took
    # eight times as long as with one.
    torch.set_num_threads(1)
    try:
        turns = {"ours": minibatch, "ours with next": transitions, "sb3-extra-buffers": theirs.sample}
        rates = take_turns({name: Turn(work) for name, work in turns.items()}, budget)
    finally:
        torch.set_num_threads(threads)
    return rates, {"ours": memory.nbytes / len(memory), "sb3-extra-buffers": theirs.bytes_per_state}


def play_into(buffer: "CompressedBuffer", game: str, length: int) -> Steps:
    """Play, fill a buffer, and return the steps in it."""
    network, _ = load_network(game, game)

    def tee() -> Iterator[Step]:
        before: Step | None = None
        for step in playing:
            if before is not None:
                buffer.add(before, step)
            before = step._replace(observations=step.observations.copy())
            yield step

    with closing(Atari(game, BUFFER_ENVS)) as games:
        episodes = lambda number: generator(0, "bench", game, number)  # noqa: E731
        playing = play(frozen_policy(network), games, in_turn(episodes), lambda: protocol.EPSILON, packs=True)
        filling = tee()
        steps = collect(filling, length, games)
        next(filling)  # the step that follows the last one
    return steps
