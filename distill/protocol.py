"""The paper's numbers: the clock, the evaluation, and the scores that others have published.

Sources: Rusu et al., "Policy Distillation", ICLR 2016 (sections 4 and appendix A); Mnih et al., "Human-level control
through deep reinforcement learning", Nature 2015 (extended data tables 1 and 2).
"""

from typing import NamedTuple

FRAMES_PER_STEP = 4
FRAMES_PER_SECOND = 60
STEPS_PER_HOUR = 54_000  # 15 decisions a second, 3,600 seconds
MEMORY_HOURS = 10
UPDATES_PER_HOUR = 10_000
STACKED_FRAMES = 4
FRAME_SIZE = 84  # pixels, both sides
NOOP_MAX = 30  # frames
EPSILON = 0.05  # in play and in evaluation
TEMPERATURE = 0.01  # of a teacher's values
MAX_FRAMES = 108_000  # 30 minutes
MOST_FRAMES = 10 * MAX_FRAMES
"""That an episode may have here: what it draws at random is drawn at its beginning."""
EVAL_EPISODES = 30


class Published(NamedTuple):
    """Scores of one game that others have measured."""

    random: float
    human: float
    dqn: float


NOOP_SCORES: dict[str, Published] = {
    "beam_rider": Published(363.9, 5774.7, 6846.0),
    "breakout": Published(1.7, 31.8, 401.2),
    "enduro": Published(0.0, 309.6, 301.8),
    "freeway": Published(0.0, 29.6, 30.3),
    "ms_pacman": Published(307.3, 15693.4, 2311.0),
    "pong": Published(-20.7, 9.3, 18.9),
    "qbert": Published(163.9, 13455.0, 10596.0),
    "riverraid": Published(1338.5, 13513.3, 8316.0),
    "seaquest": Published(68.4, 20181.8, 5286.0),
    "space_invaders": Published(148.0, 1652.3, 1976.0),
}
"""The paper's ten games, under their ALE names, from up to 30 no-ops: Mnih et al. 2015, extended data table 2."""

HUMAN_START_SCORES: dict[str, Published] = {
    "beam_rider": Published(254.6, 14961.0, 8672.4),
    "breakout": Published(1.6, 27.9, 303.9),
    "enduro": Published(-81.8, 740.2, 475.6),
    "freeway": Published(0.1, 25.6, 25.8),
    "ms_pacman": Published(197.8, 15375.0, 763.5),
    "pong": Published(-18.0, 15.5, 16.2),
    "qbert": Published(183.0, 12085.0, 4589.8),
    "riverraid": Published(588.3, 14382.2, 4065.3),
    "seaquest": Published(215.5, 40425.8, 2793.9),
    "space_invaders": Published(182.6, 1464.9, 1449.7),
}
"""From the starts of Nair et al. 2015, which were never published: other starts give other scores."""
