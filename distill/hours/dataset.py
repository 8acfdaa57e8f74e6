"""A teacher's play as a Minari dataset: what others' tools read, and a student can learn from.

An episode is one of an environment's, from its first step to its last, through however many hours; the environments
come one after the other. Minari wants one observation more than there are actions, but hours do not keep what an
episode's last action led to: there the last frame stands a second time. An episode that goes on beyond the last hour
is truncated there.
"""

import importlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete
from jaxtyping import Bool

from distill.errors import DistillError
from distill.frames import decompress
from distill.protocol import FRAME_SIZE
from distill.replay import Steps

DATASET_FORMAT = 1
"""Of what a dataset says under `SAID`, and of its infos; raised by whoever changes them."""
SAID = "distill"
"""In a dataset's metadata, what Minari's own do not say."""
CHUNK = 32
"""Steps that are compressed together: of Pong, a frame then takes 80 bytes instead of 7,056."""
PER_STEP = {"labels": np.float32, "lost_life": bool, "first": bool}
"""Infos of each step, fields of `Steps`, and their types."""


class RecordedEpisode(NamedTuple):
    """Where an episode lies in play."""

    environment: int
    begins: int
    """Its first step among the environment's."""
    ends: int
    """The step after its last."""
    cut: bool
    """Whether it goes on after that."""


def minari_module(name: str) -> Any:
    """Import a part of Minari, which brings h5py.

    Raises:
        ValueError: where they are not installed.
    """
    try:
        importlib.import_module("h5py")
        return importlib.import_module(name)
    except ImportError as error:
        raise DistillError('datasets need Minari; pip install "distill[minari]" installs it') from error


def dataset_folder(name: str) -> Path:
    """Return where Minari keeps the dataset of an id: below `$MINARI_DATASETS_PATH`, or ~/.minari/datasets.

    Raises:
        ValueError: for what is no id.
    """
    check_dataset_id(name)
    return Path(minari_module("minari.storage").get_dataset_path(name))


def check_dataset_id(name: str) -> None:
    """Refuse what Minari does not take for a dataset's id, a number of its version included."""
    found = minari_module("minari.dataset.minari_dataset").DATASET_ID_RE.fullmatch(name)
    if found is None or found["version"] is None:
        raise DistillError(f"{name!r} is no dataset's id; give one such as distill/pong-v0")


def write_dataset(folder: Path, name: str, steps: Steps, *, max_steps: float, said: dict[str, Any]) -> int:
    """Write play as a dataset.

    Args:
        folder: Which is there, and empty.
        name: The dataset's id.
        steps: What is written, T of each of N environments.
        max_steps: Longest episode; one of so many steps was truncated, not terminated.
        said: More of its metadata, as plain values.

    Returns:
        How many episodes it has.
    """
    storages, buffers = minari_module("minari.dataset.minari_storage"), minari_module("minari.data_collector")
    num_actions, episodes = steps.labels.shape[-1], episodes_in(steps.ended)
    storage = storages.MinariStorage.new(
        folder / "data",
        observation_space=Box(0, 255, (FRAME_SIZE, FRAME_SIZE), np.uint8),
        action_space=Discrete(num_actions),
        jpeg_encoding=False,
    )
    _make_room(folder / "data" / "main_data.hdf5", len(episodes), num_actions)
    storage.update_episodes(
        buffers.EpisodeBuffer(id=number, **_arrays_of(steps, episode, max_steps))
        for number, episode in enumerate(episodes)
    )
    storage.update_episode_metadata([episode._asdict() for episode in episodes])
    storage.update_metadata({"dataset_id": name, "minari_version": version("minari"), **said})
    return len(episodes)


def episodes_in(ended: Bool[np.ndarray, "T N"]) -> list[RecordedEpisode]:
    """Find the episodes, environment by environment, by the steps with which they ended."""
    return [episode for environment, of_one in enumerate(ended.T) for episode in _of_environment(environment, of_one)]


def _of_environment(environment: int, ended: Bool[np.ndarray, " T"]) -> Iterator[RecordedEpisode]:
    begins = 0
    for last in np.flatnonzero(ended).tolist():
        yield RecordedEpisode(environment, begins, last + 1, cut=False)
        begins = last + 1
    if begins < len(ended):
        yield RecordedEpisode(environment, begins, len(ended), cut=True)


def _make_room(path: Path, episodes: int, num_actions: int) -> None:
    """Make the arrays that are large, empty, to which Minari appends: by itself it would compress nothing."""
    size = (FRAME_SIZE, FRAME_SIZE)
    large = {"observations": (size, np.uint8), "infos/labels": ((num_actions,), np.float32)}
    with minari_module("h5py").File(path, "a", track_order=True) as file:
        for number in range(episodes):
            episode = file.create_group(f"episode_{number}")
            for name, (shape, kind) in large.items():
                episode.create_dataset(
                    name,
                    shape=(0, *shape),
                    maxshape=(None, *shape),
                    chunks=(CHUNK, *shape),
                    dtype=kind,
                    compression="gzip",
                    fletcher32=True,  # a checksum: what is damaged is not read
                )


def _arrays_of(steps: Steps, episode: RecordedEpisode, max_steps: float) -> dict[str, Any]:
    of_env = slice(episode.environment, episode.environment + 1)
    its = steps[episode.begins : episode.ends].of_envs(of_env)
    frames, ended = decompress(its.frames[:, 0]), its.ended[:, 0]
    limited = bool(its.first[0, 0]) and len(its) >= max_steps
    last = np.arange(len(its)) == len(its) - 1
    return {
        "observations": np.concatenate([frames, frames[-1:]]),
        "actions": its.actions[:, 0],
        "rewards": its.rewards[:, 0],
        "terminations": ended & (not limited),
        "truncations": last & (limited or episode.cut),
        "infos": {name: getattr(its, name)[:, 0] for name in PER_STEP},
    }
