"""Rivals do the same work: their passes give our answers, their buffer holds our play."""

import numpy as np
import pytest
import torch

from distill.engine import frozen_policy
from distill.frames import decompress
from distill.networks import build
from distill.tools.bench.buffers import CompressedBuffer, play_into
from distill.tools.bench.plain import policies

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_all_passes_give_the_same_answers():
    """To what differs between ways to add up."""
    torch.manual_seed(0)
    network = build("dqn", num_actions=6)
    seen = np.random.default_rng(0).integers(256, size=(30, 4, 84, 84), dtype=np.uint8)
    ours = frozen_policy(network)(seen)
    found = policies(network)
    assert len(found) == 3
    for policy in found.values():
        np.testing.assert_allclose(policy(seen), ours, rtol=1e-4, atol=1e-4)


def test_both_buffers_hold_the_same_play():
    """Theirs gives back the frames of our steps, stacked, but for the oldest, which it overwrites as it ends."""
    pytest.importorskip("sb3_extra_buffers")
    length, envs = 20, 10
    theirs = CompressedBuffer(length, envs, num_actions=6)
    steps = play_into(theirs, "pong", length)
    assert theirs.buffer.full
    for time, env in ((1, 0), (7, 3), (length - 1, envs - 1)):
        stack = theirs.buffer.reconstruct_obs(time, env)
        newest = decompress(steps.frames[max(0, time - 3) : time + 1, env])
        np.testing.assert_array_equal(stack[-len(newest) :], newest)
    assert theirs.bytes_per_state > np.mean([len(one) for one in theirs.buffer.observations.ravel()])
    assert theirs.sample() == 1
