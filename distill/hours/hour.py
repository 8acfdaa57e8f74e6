"""A simulated hour of play as a file: what was seen and thought, and what it takes to play on from its end."""

import hashlib
import json
from typing import Any, NamedTuple

import numpy as np

from distill.errors import DistillError
from distill.files.packing import pack, unpack
from distill.replay import Steps
from distill.rollout import PlayState

FORMAT = 2
"""Of hour files; raised by whoever changes what is in them or what play draws."""
PLAIN = ("labels", "rewards", "ended", "first", "lost_life")
"""Fields of `Steps` that are kept as they are."""


NOT_IN_NAME = ("hour", "open_seeds")
"""What the header of an hour's file says beside what the hour depends on."""


class Gone(DistillError):
    """An hour is missing that cannot be played again."""

    code = 1


class Hour(NamedTuple):
    """What was played, and where play stood at its end."""

    steps: Steps
    position: PlayState

    def to_bytes(self, header: dict[str, Any]) -> bytes:
        """Pack it: safetensors under zstd. Frames stay LZ4 blocks, in the order of time.

        Args:
            header: What the hour depends on, and the seeds of the episodes that are open at its end, as plain values.
        """
        steps, position = self
        frames = steps.frames.ravel().tolist()
        arrays = {
            **{name: getattr(steps, name) for name in PLAIN},
            "actions": steps.actions.astype(np.uint8),
            "frames": np.frombuffer(b"".join(frames), np.uint8),
            "frame_sizes": np.array([len(frame) for frame in frames], np.uint16).reshape(steps.frames.shape),
            "open_episodes": position.numbers,
            "open_actions": np.concatenate(position.actions).astype(np.uint8),
            "open_lengths": np.array([len(actions) for actions in position.actions]),
        }
        return pack(arrays, {**header, "format": FORMAT})

    @classmethod
    def from_bytes(cls, content: bytes) -> "Hour":
        """Undo `to_bytes`, bit for bit.

        Raises:
            ValueError: for what it did not give.
        """
        arrays, header = unpack(content)
        check_format("this file", header.get("format"))
        _check_arrays(arrays)
        shape = arrays["frame_sizes"].shape
        ends = np.cumsum(arrays["frame_sizes"].ravel(), dtype=np.int64).tolist()
        packed = arrays["frames"].tobytes()
        frames = np.empty(len(ends), object)
        frames[:] = [packed[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        steps = Steps(
            frames=frames.reshape(shape),
            actions=arrays["actions"].astype(np.int64),
            **{name: arrays[name] for name in PLAIN},
        )
        taken = np.split(arrays["open_actions"].astype(np.int64), np.cumsum(arrays["open_lengths"])[:-1])
        return cls(steps, PlayState(arrays["open_episodes"], taken))


def hour_name(depends_on: dict[str, Any], hour: int, before: str | None) -> str:
    """Name a file, by the game, the hour, and a hash of all it depends on.

    Args:
        depends_on: As plain values, the game among them.
        hour: Its number, from 0.
        before: The name of the hour before; None for the first.
    """
    what = json.dumps({**depends_on, "before": before}, sort_keys=True)
    return f"{depends_on['game']}-{hour:04}-{hashlib.sha256(what.encode()).hexdigest()[:16]}"


def check_format(what: str, found: Any) -> None:
    """Refuse play of another format.

    Args:
        what: That holds it, for the message.
        found: Its format.

    Raises:
        ValueError: where that is not `FORMAT`.
    """
    if found != FORMAT:
        raise DistillError(
            f"{what} holds play of format {found or 1}; this version plays by format {FORMAT}, in which an episode "
            "begins with 0 to 30 no-ops and each environment counts its own episodes: begin a new run"
        )


def _check_arrays(arrays: dict[str, np.ndarray]) -> None:
    """Refuse arrays that do not belong together."""
    kinds = {"labels": "f4", "rewards": "i4", "ended": "?", "first": "?", "lost_life": "?", "actions": "u1"}
    kinds |= {"frames": "u1", "frame_sizes": "u2"}
    kinds |= {"open_episodes": "i8", "open_actions": "u1", "open_lengths": "i8"}
    wrong = [name for name, kind in kinds.items() if name not in arrays or arrays[name].dtype != np.dtype(kind)]
    if wrong:
        raise DistillError(f"its {', '.join(wrong)} are missing, or of another type")
    shape, lengths = arrays["frame_sizes"].shape, arrays["open_lengths"]
    fitting = (
        len(shape) == 2
        and all(arrays[name].shape == shape for name in ("actions", *PLAIN) if name != "labels")
        and arrays["labels"].shape[:-1] == shape
        and arrays["frames"].shape == (arrays["frame_sizes"].sum(dtype=np.int64),)
        and arrays["open_episodes"].shape == lengths.shape == shape[1:]
        and (lengths >= 0).all()
        and arrays["open_actions"].shape == (lengths.sum(),)
    )
    if not fitting:
        raise DistillError("the shapes of its arrays do not belong together")
