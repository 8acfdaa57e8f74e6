"""Where frames are kept changes nothing in what is drawn."""

import numpy as np
import pytest
import torch

from distill.frames import RawFrames, compress, decompress, frame_bytes
from distill.replay import Memory, Steps

ENVS, TIMES = 3, 700


@pytest.fixture(scope="module")
def steps():
    """Random play, in which an episode is over every few steps."""
    rng = np.random.default_rng(0)
    steps = Steps.empty(TIMES, ENVS, 2)
    for name in ("labels", "actions", "rewards"):
        getattr(steps, name)[:] = rng.integers(0, 100, size=getattr(steps, name).shape)
    steps.first[:] = rng.random((TIMES, ENVS)) < 0.1
    steps.first[0] = True
    steps.ended[:-1], steps.ended[-1] = steps.first[1:], False
    steps.lost_life[:] = False
    pictures = rng.integers(0, 256, size=(TIMES, ENVS, 84, 84), dtype=np.uint8)
    for row in range(TIMES):
        steps.frames[row] = compress(pictures[row])
    return steps


def memories(length):
    return [Memory(length, ENVS, 2, "pong", place) for place in (None, torch.device("cpu"))]


@pytest.mark.parametrize("length", [50, 300, TIMES])
@pytest.mark.parametrize("piece", [7, 299, TIMES])
def test_raw_frames_give_the_same_rows_as_packed_ones(steps, length, piece):
    """The same draws from either give the same bits, whatever the pieces in which the memory was filled."""
    packed, raw = memories(length)
    for memory in (packed, raw):
        for first in range(0, TIMES, piece):
            memory.extend(steps[first : first + piece])
    for draw in (
        lambda memory: memory.minibatch(np.random.default_rng(1), 200),
        lambda memory: memory.transitions(np.random.default_rng(2), 200, 3),
    ):
        for name, tensor in vars(draw(packed)).items():
            assert name == "game" or torch.equal(tensor, getattr(draw(raw), name)), name


def test_raw_frames_take_what_is_said(steps):
    """`frame_bytes` counts the bytes of raw frames; the memory's count has them."""
    raw = RawFrames(53, ENVS, torch.device("cpu"))
    assert raw.nbytes == frame_bytes(53, ENVS) == raw.raw.nbytes
    assert memories(50)[1].nbytes > raw.nbytes


def test_frames_come_back_as_they_were():
    """Packing loses nothing."""
    pictures = np.random.default_rng(3).integers(0, 256, size=(5, 84, 84), dtype=np.uint8)
    assert np.array_equal(decompress(compress(pictures)), pictures)
