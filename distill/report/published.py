"""The numbers that the paper prints: Rusu et al., "Policy Distillation", ICLR 2016 (arXiv:1511.06295).

Tables 1, 2, B1 and B2; where sizes are, A1.

All are scores from human starts, of one student each: seeds and intervals are not printed. Percentages are of the DQN's
score in the same row, nothing subtracted, as printed; they were made of unrounded scores.
"""

from typing import NamedTuple

GAME_NAMES = {
    "beam_rider": "Beam Rider",
    "breakout": "Breakout",
    "enduro": "Enduro",
    "freeway": "Freeway",
    "ms_pacman": "Ms. Pac-Man",
    "pong": "Pong",
    "qbert": "Q*bert",
    "riverraid": "River Raid",
    "seaquest": "Seaquest",
    "space_invaders": "Space Invaders",
}
"""The paper's ten games, by their ALE names."""

LOSS_GAMES = ("breakout", "freeway", "pong", "qbert")
"""On which the paper chose loss, temperature and learning rate."""

DQN_SCORES = {
    "beam_rider": 8672.4,
    "breakout": 303.9,
    "enduro": 475.6,
    "freeway": 25.8,
    "ms_pacman": 763.5,
    "pong": 16.2,
    "qbert": 4589.8,
    "riverraid": 4065.3,
    "seaquest": 2793.3,
    "space_invaders": 1449.7,
}
"""What every table divides by. Seaquest's is 2793.9 where the paper takes it from."""


class Printed(NamedTuple):
    """One cell of the paper's."""

    score: float
    percent: float
    """Of the DQN's score."""


class PaperTable(NamedTuple):
    """One table of the paper's."""

    cells: dict[str, dict[str, Printed]]
    """By column, then by game."""
    geometric_means: dict[str, float]
    """In percent, by column; empty where the paper prints none."""
    hours: str
    """Of teacher's play for each student."""


def _table(
    games: tuple[str, ...], columns: dict[str, tuple[tuple[float, float], ...]]
) -> dict[str, dict[str, Printed]]:
    return {
        column: {game: Printed(*cell) for game, cell in zip(games, cells, strict=True)}
        for column, cells in columns.items()
    }


TABLE_1 = PaperTable(
    _table(
        LOSS_GAMES,
        {
            "mse": ((102.9, 33.9), (25.7, 99.4), (15.3, 94.4), (5607.3, 122.2)),
            "nll": ((235.9, 77.6), (26.2, 101.4), (15.4, 94.9), (6773.5, 147.6)),
            "kl": ((287.8, 94.7), (26.7, 103.5), (16.3, 100.9), (7112.8, 155.0)),
        },
    ),
    {},
    "500 hours",
)
"""Losses; the student is as large as its teacher."""

TABLE_B1 = PaperTable(
    _table(
        tuple(GAME_NAMES),
        {
            "net1": (
                (7552.8, 87.1),
                (321.0, 105.6),
                (677.9, 142.5),
                (26.7, 103.5),
                (782.5, 102.5),
                (16.3, 100.6),
                (5947.3, 129.6),
                (4442.7, 109.3),
                (3986.6, 142.7),
                (1140.0, 78.6),
            ),
            "net2": (
                (7393.3, 85.3),
                (298.2, 98.1),
                (672.2, 141.3),
                (26.7, 103.5),
                (659.9, 86.4),
                (16.8, 103.7),
                (5994.0, 130.6),
                (4175.3, 102.7),
                (4567.1, 163.5),
                (716.1, 49.4),
            ),
            "net3": (
                (6521.2, 75.2),
                (238.8, 78.6),
                (556.7, 117.1),
                (26.7, 103.5),
                (734.3, 96.2),
                (15.7, 96.9),
                (4952.3, 107.9),
                (3417.9, 84.1),
                (3838.3, 137.4),
                (302.3, 20.9),
            ),
        },
    ),
    {"net1": 108.3, "net2": 101.7, "net3": 83.9},
    "500 hours",
)
"""Sizes, all by KL; figure 3 draws its geometric means."""

SIZES_PERCENT = {"net1": 25.3, "net2": 6.7, "net3": 3.7}
"""Parameters of these students in percent of the teacher's: table A1, divided."""

TABLE_B2 = PaperTable(
    _table(
        ("freeway", "pong", "qbert"),
        {
            "multi_dqn": ((23.3, 90.3), (12.0, 74.1), (3987.3, 86.9)),
            "nll": ((26.5, 102.7), (14.8, 91.4), (5678.0, 123.7)),
            "kl": ((26.3, 102.0), (16.9, 104.4), (6890.3, 150.1)),
        },
    ),
    {"multi_dqn": 83.5, "nll": 105.1, "kl": 116.9},
    "500 hours, three games together",
)
"""Three games in one network; figure 4."""

TABLE_2 = PaperTable(
    _table(
        tuple(GAME_NAMES),
        {
            "kl": (
                (4789.0, 55.2),
                (216.0, 71.1),
                (613.0, 128.9),
                (26.6, 102.9),
                (681.8, 89.3),
                (16.1, 99.6),
                (6098.3, 132.9),
                (4326.8, 106.4),
                (4320.7, 154.7),
                (461.1, 31.8),
            )
        },
    ),
    {"kl": 89.3},
    "34,000 hours, ten games together",
)
"""Ten games in one network."""
