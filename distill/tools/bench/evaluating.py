"""What `bench` measures of evaluation: ours from recorded starts, beside a peer's."""

import contextlib
import tempfile
import time

import torch

from distill import protocol
from distill.atari.starts import Starts
from distill.engine import frozen_policy
from distill.evaluation import EvalConfig, play_episodes
from distill.networks import DQN
from distill.tools.bench.peers import StableBaselines3
from distill.tools.bench.turns import Budget
from distill.tools.make_starts import draw_starts

STARTS = protocol.EVAL_EPISODES
RECORDED_EPISODES = 10
"""Of which the starts are drawn."""
EVALUATION_STEPS = 150
"""Of an episode: the shorter it is, the more it matters that our emulators are in processes, which must start."""


def evaluations(peer: StableBaselines3, network: DQN, teacher: str, rate: float, budget: Budget) -> dict[str, float]:
    """Evaluate from starts, between two halves of the peer's evaluation; ratios of episodes a second.

    Episodes are cut off where the time does not allow for whole ones, the peer's after as many frames.

    Args:
        peer: Whose evaluation is beside ours.
        network: Who plays.
        teacher: Where it came from; it plays up to the starts, too.
        rate: Its play, steps a second, about.
        budget: In whose part for it this is; another is for mixed precision.
    """
    longest = protocol.MAX_FRAMES // protocol.FRAMES_PER_STEP
    length = min(max(int(rate * budget.seconds / 2 / STARTS), EVALUATION_STEPS), longest)
    max_frames = length * protocol.FRAMES_PER_STEP
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
        path = f"{folder}/starts"
        draw_starts(teacher, path, episodes=RECORDED_EPISODES, count=STARTS, max_frames=max_frames)
        starts = Starts.load(path)
    rules = EvalConfig(starts.game, tuple(range(STARTS)), 0, max_frames=max_frames, starts=starts)

    def ours(dtype: torch.dtype) -> float:
        start = time.perf_counter()
        play_episodes(frozen_policy(network, dtype), rules)
        return STARTS / (time.perf_counter() - start)

    seconds = budget.seconds / 8
    before = peer.evaluate(seconds, max_frames)
    float32 = ours(torch.float32)
    after = peer.evaluate(seconds, max_frames)
    theirs = 2 / (1 / before + 1 / after)
    figures = {"evaluation_max_frames": max_frames, "evaluation_over_sb3": float32 / theirs}
    if budget.begin("evaluation in bf16-mixed"):
        figures["evaluation_bf16_over_sb3"] = ours(torch.bfloat16) / theirs
    return figures
