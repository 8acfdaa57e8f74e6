"""What a machine gives to whom: cores to play and learning, a GPU's memory to frames."""

import pytest
import torch

from distill.hours.experience import SHARE, room_for_frames
from distill.hours.teacher_play import Division, divide_cores
from distill.rollout import PlayConfig
from distill.schedule import Schedule

RULES = PlayConfig("pong", 0, 0, 30, 54_000, Schedule.of(0.05), 108_000)
TEN_HOURS = ((540_000 // 30 + 3) * 30 + 1) * 84 * 84
"""Bytes of a game's frames, those before the oldest observation and a black one included."""


@pytest.mark.parametrize(
    ("games", "free", "fits"), [(1, 4e9, False), (1, 7e9, True), (10, 60e9, False), (10, 70e9, True)]
)
def test_frames_lie_on_a_gpu_where_all_games_fit(monkeypatch, games, free, fits):
    """As they are, in at most a share of what is free there; else, and without a GPU, packed."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free), int(80e9)))
    assert fits == (games * TEN_HOURS <= SHARE * free)
    gpu = torch.device("cuda")
    assert room_for_frames([RULES] * games, 10, gpu) == (gpu if fits else None)
    assert room_for_frames([RULES] * games, 10, torch.device("cpu")) is None


@pytest.mark.parametrize(
    ("cores", "on_gpu", "overlap", "division"),
    [
        (2, False, None, Division(False, 2, 2)),
        (2, False, True, Division(True, 2, 1)),
        (16, False, None, Division(True, 8, 8)),
        (16, False, False, Division(False, 8, 8)),
        (16, True, None, Division(True, 1, 15)),
        (2, True, None, Division(True, 2, 1)),
    ],
)
def test_play_has_what_learning_leaves(cores, on_gpu, overlap, division):
    """Half of enough cores, all but one where a GPU learns, all where the two take turns on few."""
    assert divide_cores(cores, on_gpu=on_gpu, overlap=overlap) == division
