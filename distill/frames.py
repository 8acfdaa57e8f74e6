"""Where the memory keeps its frames: packed in main memory, or as they are on a GPU.

Packed, an 84x84 frame takes 260 bytes in Pong and 1,900 in Q*bert instead of 7,056, and 1 to 2 microseconds to give
back, about what it takes to fetch 7,056 bytes from an array too large for the processor's cache. On a GPU stacks are
put together where they are learned from, and nothing but their numbers crosses the bus.
"""

import sys
from typing import Protocol

import cramjam
import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped, UInt8
from torch import Tensor

from distill.protocol import FRAME_SIZE

FRAME_BYTES = FRAME_SIZE**2
UPLOADED_ROWS = 256
"""Steps of each environment whose frames go to a GPU together."""


def compress(frames: UInt8[np.ndarray, "N 84 84"]) -> Shaped[np.ndarray, " N"]:
    """Pack frames one by one, as LZ4 blocks: an array of `bytes`."""
    packed = np.empty(len(frames), object)
    packed[:] = [bytes(cramjam.lz4.compress_block(frame, store_size=False)) for frame in frames]
    return packed


def decompress(frames: Shaped[np.ndarray, "..."]) -> UInt8[np.ndarray, "... 84 84"]:
    """Undo `compress`, for an array of any shape."""
    unpacked = np.empty((frames.size, FRAME_SIZE, FRAME_SIZE), np.uint8)
    for frame, place in zip(frames.ravel().tolist(), unpacked, strict=True):
        cramjam.lz4.decompress_block_into(frame, place, output_len=place.size)
    return unpacked.reshape(*frames.shape, FRAME_SIZE, FRAME_SIZE)


BLANK: bytes = compress(np.zeros((1, FRAME_SIZE, FRAME_SIZE), np.uint8))[0]
"""A black frame."""


def blank(*shape: int) -> Shaped[np.ndarray, "..."]:
    """Return an array of black frames."""
    frames = np.empty(shape, object)
    frames.fill(BLANK)  # `np.full` would take the bytes for a string and cut its trailing zeros
    return frames


class Frames(Protocol):
    """Frames of N environments, by place in a ring."""

    @property
    def nbytes(self) -> int:
        """Return the bytes that the frames take."""

    def put(self, places: Int[np.ndarray, " T"], frames: Shaped[np.ndarray, "T N"]) -> None:
        """Keep frames, as `compress` gives them; no place comes twice."""

    def stacks(
        self, places: Int[np.ndarray, "B 4"], envs: Int[np.ndarray, " B"], missing: Bool[np.ndarray, "B 4"]
    ) -> UInt8[Tensor, "B 4 84 84"]:
        """Put observations together; what is missing of them is black."""


class PackedFrames:
    """Frames in main memory, each compressed by itself.

    Args:
        ring: Places.
        num_envs: Environments, N.
    """

    def __init__(self, ring: int, num_envs: int) -> None:
        self.packed = blank(ring, num_envs)

    @property
    def nbytes(self) -> int:
        """Count the bytes of the frames, and of what points to them."""
        return self.packed.nbytes + sum(sys.getsizeof(one) for one in self.packed.ravel() if one is not BLANK)

    def put(self, places: Int[np.ndarray, " T"], frames: Shaped[np.ndarray, "T N"]) -> None:
        """Keep frames; see `Frames.put`."""
        self.packed[places] = frames

    def stacks(
        self, places: Int[np.ndarray, "B 4"], envs: Int[np.ndarray, " B"], missing: Bool[np.ndarray, "B 4"]
    ) -> UInt8[Tensor, "B 4 84 84"]:
        """Put observations together; see `Frames.stacks`."""
        frames = self.packed[places, envs[:, None]]
        frames[missing] = BLANK
        return torch.from_numpy(decompress(frames))


class RawFrames:
    """Frames as they are, on a device; `frame_bytes` says what they take there.

    Args:
        ring: Places.
        num_envs: Environments, N.
        device: Where.
    """

    def __init__(self, ring: int, num_envs: int, device: torch.device) -> None:
        self.num_envs = num_envs
        self.missing = ring * num_envs
        """The row of a black frame."""
        self.raw = torch.zeros(self.missing + 1, FRAME_BYTES, dtype=torch.uint8, device=device)

    @property
    def nbytes(self) -> int:
        """Count the bytes of the frames."""
        return self.raw.nbytes

    def put(self, places: Int[np.ndarray, " T"], frames: Shaped[np.ndarray, "T N"]) -> None:
        """Keep frames; see `Frames.put`."""
        by_place = self.raw[: self.missing].view(-1, self.num_envs, FRAME_BYTES)
        for first in range(0, len(places), UPLOADED_ROWS):
            some = slice(first, first + UPLOADED_ROWS)
            unpacked = torch.from_numpy(decompress(frames[some])).flatten(start_dim=2)
            by_place[torch.from_numpy(places[some]).to(self.raw.device)] = unpacked.to(self.raw.device)

    def stacks(
        self, places: Int[np.ndarray, "B 4"], envs: Int[np.ndarray, " B"], missing: Bool[np.ndarray, "B 4"]
    ) -> UInt8[Tensor, "B 4 84 84"]:
        """Put observations together; see `Frames.stacks`."""
        rows = np.where(missing, self.missing, places * self.num_envs + envs[:, None])
        found = self.raw.index_select(0, torch.from_numpy(rows.ravel()).to(self.raw.device))
        return found.view(*rows.shape, FRAME_SIZE, FRAME_SIZE)


def frame_bytes(ring: int, num_envs: int) -> int:
    """Count the bytes of `RawFrames`."""
    return (ring * num_envs + 1) * FRAME_BYTES
