"""The paper's numbers: the clock, the evaluation, and the scores that others have published.

Sources: Rusu et al., "Policy Distillation", ICLR 2016 (sections 4 and appendix A); Mnih et al., "Human-level control
through deep reinforcement learning", Nature 2015 (extended data tables 1 and 2).
"""

from typing import NamedTuple

FRAMES_PER_STEP = 4
STEPS_PER_HOUR = 54_000  # 15 decisions a second, 3,600 seconds
MEMORY_HOURS = 10
UPDATES_PER_HOUR = 10_000
STACKED_FRAMES = 4
FRAME_SIZE = 84  # pixels, both sides
NOOP_MAX = 30  # frames
EPSILON = 0.05  # in play and in evaluation
MAX_FRAMES = 108_000  # 30 minutes
EVAL_EPISODES = 30


class NoopScores(NamedTuple):
    """Scores from starts of up to 30 no-ops, as printed by Mnih et al. 2015, extended data table 2."""

    random: float
    human: float
    dqn: float


NOOP_SCORES: dict[str, NoopScores] = {
    "beam_rider": NoopScores(363.9, 5774.7, 6846.0),
    "breakout": NoopScores(1.7, 31.8, 401.2),
    "enduro": NoopScores(0.0, 309.6, 301.8),
    "freeway": NoopScores(0.0, 29.6, 30.3),
    "ms_pacman": NoopScores(307.3, 15693.4, 2311.0),
    "pong": NoopScores(-20.7, 9.3, 18.9),
    "qbert": NoopScores(163.9, 13455.0, 10596.0),
    "riverraid": NoopScores(1338.5, 13513.3, 8316.0),
    "seaquest": NoopScores(68.4, 20181.8, 5286.0),
    "space_invaders": NoopScores(148.0, 1652.3, 1976.0),
}
"""The paper's ten games under their ALE names."""
