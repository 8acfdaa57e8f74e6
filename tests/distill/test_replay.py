"""The memory, fed with steps whose every field says which step of which environment it is.

Environment `n` at time `t` has the code `1 + t * ENVS + n`: its frame is filled with it, its action and its reward are
it, and so on.
"""

from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import Tensor

from distill.frames import compress, decompress
from distill.replay import Block, Memory, Minibatch, Steps

ENVS, TIMES = 3, 40
STARTS = [{0, 7, 8, 10, 24, 30, 37}, {0, 16, 39}, {0, 1, 2, 3, 22, 26, 38}]
"""When the environments' episodes begin; some are shorter than a stack."""


def play() -> Steps:
    codes = 1 + np.arange(TIMES * ENVS).reshape(TIMES, ENVS)
    first = np.array([[time in STARTS[env] for env in range(ENVS)] for time in range(TIMES)])
    return Steps(
        frames=compress(np.repeat(codes.ravel(), 84 * 84).astype(np.uint8).reshape(-1, 84, 84)).reshape(codes.shape),
        labels=np.stack([codes, codes + 0.5], axis=-1).astype(np.float32),
        actions=codes.astype(np.int64),
        rewards=codes.astype(np.int32),
        ended=np.roll(first, -1, axis=0),
        first=first,
        lost_life=codes % 5 == 0,
    )


STEPS = play()


def between(start: int, stop: int) -> Steps:
    return Steps(*(getattr(STEPS, field.name)[start:stop] for field in fields(Steps)))


def filled(length: int, written: int = TIMES, chunk: int = TIMES) -> Memory:
    memory = Memory(length, ENVS, num_actions=2)
    for start in range(0, written, chunk):
        memory.extend(between(start, min(start + chunk, written)))
    return memory


def place(code: int) -> tuple[int, int]:
    return divmod(code - 1, ENVS)


def code(time: int, env: int) -> int:
    return 1 + time * ENVS + env


def stack(time: int, env: int) -> list[int]:
    """The codes of the frames that the player saw: those of the episode so far, at most four, and zeros before."""
    start = max(start for start in STARTS[env] if start <= time)
    return [code(t, env) if t >= start else 0 for t in range(time - 3, time + 1)]


def codes_of(observations: Tensor) -> list:
    """What the frames are filled with."""
    lowest, highest = observations.amin((-2, -1)), observations.amax((-2, -1))
    assert torch.equal(lowest, highest)
    return lowest.tolist()


LAYOUTS = [
    (TIMES, TIMES, TIMES),  # all is kept
    (200, TIMES, 7),  # not full yet
    (12, TIMES, TIMES),  # written over several times in one go
    (12, TIMES, 1),
    (12, 17, 5),  # just wrapped
    (12, TIMES, 16),
    (1, TIMES, 9),
]


@pytest.mark.parametrize(("length", "written", "chunk"), LAYOUTS)
def test_minibatches(length, written, chunk):
    """Each row's label and stack are of one step, the stack from its episode alone; all newest steps are drawn."""
    memory = filled(length, written, chunk)
    newest = {(t, n) for t in range(max(0, written - length), written) for n in range(ENVS)}
    assert len(memory) == len(newest)
    batch = memory.minibatch(np.random.default_rng(0), 16 * len(newest))  # misses one with probability e^-16
    drawn = set()
    for label, frames in zip(batch.labels.tolist(), codes_of(batch.observations), strict=True):
        time, env = place(int(label[0]))
        assert label == [code(time, env), code(time, env) + 0.5]
        assert frames == stack(time, env)
        drawn.add((time, env))
    assert drawn == newest


def test_a_memory_that_begins_in_the_middle_of_an_episode():
    """Frames from before the first step that was added are black."""
    memory = Memory(10, ENVS, num_actions=2)
    memory.extend(between(11, 13))
    batch = memory.minibatch(np.random.default_rng(0), 200)
    for label, frames in zip(batch.labels[:, 0].int().tolist(), codes_of(batch.observations), strict=True):
        time, env = place(label)
        assert frames == [0, 0, *([0] if time == 11 else [code(11, env)]), code(time, env)]


@pytest.mark.parametrize("ahead", [1, 4])
@pytest.mark.parametrize(("length", "written", "chunk"), LAYOUTS[:-1])
def test_transitions(length, written, chunk, ahead):
    """A row is consecutive steps of one environment and the observation after them; all that fit are drawn."""
    memory = filled(length, written, chunk)
    starts = {(t, n) for t in range(max(0, written - length), written - ahead) for n in range(ENVS)}
    rows = memory.transitions(np.random.default_rng(0), 16 * len(starts), ahead)
    drawn = set()
    seen_and_next = zip(codes_of(rows.observations), codes_of(rows.next_observations), strict=True)
    for row, (seen, following) in enumerate(seen_and_next):
        start, env = place(int(rows.actions[row]))
        assert seen == stack(start, env)
        assert following == stack(start + ahead, env)
        for name in ("rewards", "ended", "lost_life"):
            assert getattr(rows, name)[row].tolist() == getattr(STEPS, name)[start : start + ahead, env].tolist()
        drawn.add((start, env))
    assert drawn == starts


def test_uniform():
    """Every remembered step of every environment is drawn equally often."""
    times, envs = filled(10)._draw(np.random.default_rng(0), 300_000, 0)
    counts = np.bincount((times - times.min()) * ENVS + envs, minlength=30)
    # 10,000 draws of each, standard deviation 98.3. One of 30 normal numbers is further than 5.5 of these off with
    # probability 30 x 4e-8, about 1e-6.
    assert np.abs(counts - 10_000).max() < 5.5 * 98.3


def test_types():
    """Rows have the types that losses and networks take."""
    rng, memory = np.random.default_rng(0), filled(20)
    rows = {**vars(memory.minibatch(rng, 2)), **vars(memory.transitions(rng, 2, 3))}
    assert {name: tensor.dtype for name, tensor in rows.items() if name != "game"} == {
        "observations": torch.uint8,
        "labels": torch.float32,
        "actions": torch.int64,
        "rewards": torch.float32,
        "ended": torch.bool,
        "lost_life": torch.bool,
        "next_observations": torch.uint8,
    }


@pytest.mark.parametrize(
    ("length", "written", "ahead"), [(20, 0, 0), (20, 0, 1), (20, 3, 3), (20, 3, 9), (5, TIMES, 5)]
)
def test_too_small(length, written, ahead):
    """Drawing from too few steps, because few were played or few are kept, is refused rather than padded."""
    memory, rng = filled(length, written), np.random.default_rng(0)
    with pytest.raises(ValueError, match=f"holds {min(length, written) * ENVS} steps, too few to look {ahead} ahead"):
        memory.transitions(rng, 4, ahead) if ahead else memory.minibatch(rng, 4)


def test_compressed_frames_come_back_bit_for_bit():
    """Frames of any content, in an array of any shape, are the same after packing and unpacking."""
    rng = np.random.default_rng(0)
    noise = rng.integers(256, size=(2, 84, 84), dtype=np.uint8)
    plain = np.stack([np.zeros((84, 84), np.uint8), np.full((84, 84), 255, np.uint8)])
    gradient = np.arange(2 * 84 * 84).reshape(2, 84, 84).astype(np.uint8)
    frames = np.concatenate([noise, plain, gradient])
    packed = compress(frames)
    assert all(type(frame) is bytes for frame in packed)
    np.testing.assert_array_equal(decompress(packed), frames)
    np.testing.assert_array_equal(decompress(packed.reshape(3, 2)), frames.reshape(3, 2, 84, 84))
    assert decompress(packed[:0]).shape == (0, 84, 84)


def block(rows: int, batch_size: int) -> Block[Minibatch]:
    numbers = torch.arange(rows)
    observations = numbers.to(torch.uint8)[:, None, None, None].expand(rows, 4, 84, 84)
    return Block.of(Minibatch(observations, numbers[:, None].float(), game="pong"), batch_size)


@pytest.mark.parametrize(("rows", "sizes"), [(20, [10, 10]), (24, [10, 10, 4]), (7, [7])])
def test_block(rows, sizes):
    """A block's minibatches hold its rows once, in order, at most `batch_size` each."""
    minibatches = list(block(rows, 10))
    assert [len(batch) for batch in minibatches] == sizes
    assert block(rows, 10).updates == len(sizes)
    for name in ("labels", "observations"):
        numbers = torch.cat([getattr(batch, name).flatten(1)[:, 0] for batch in minibatches])
        assert numbers.tolist() == list(range(rows))


def test_to():
    """Moving a block moves every tensor and keeps the types of block, rows and numbers."""
    moved = block(6, 4).to("meta")
    rows = moved.rows["pong"]
    assert (type(moved), type(rows), moved.batch_size, rows.game) == (Block, Minibatch, 4, "pong")
    assert rows.observations.is_meta
    assert rows.labels.is_meta
    assert (rows.observations.dtype, rows.labels.dtype) == (torch.uint8, torch.float32)


def test_what_is_forgotten_is_not_drawn():
    """After `forget` rows are drawn from newer steps alone, and their stacks still reach back to older frames."""
    memory = filled(30, written=20)
    memory.forget()
    assert len(memory) == 0
    memory.extend(between(20, 36))
    assert len(memory) == 16 * ENVS
    assert memory.episode_steps == 16 * ENVS / 4  # so many ended in those steps
    batch = memory.minibatch(np.random.default_rng(0), 2000)
    drawn = {place(int(label)) for label in batch.labels[:, 0]}
    assert drawn == {(time, env) for time in range(20, 36) for env in range(ENVS)}
    for seen, label in zip(codes_of(batch.observations), batch.labels[:, 0], strict=True):
        assert seen == stack(*place(int(label)))


def test_an_episode_that_has_not_ended_is_as_long_as_its_play():
    """Before any episode ends, an episode is estimated at what one environment has played, not at what all have."""
    memory = Memory(TIMES, ENVS, num_actions=2)
    steps = between(0, 20)
    steps.ended[...] = False
    memory.extend(steps)
    assert memory.episode_steps == 20
