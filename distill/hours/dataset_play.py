"""A dataset in a teacher's place: what was recorded once is learned from, and nobody plays."""

import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from distill import checks
from distill.atari.rules import EnvRules
from distill.errors import DistillError
from distill.frames import compress
from distill.hours.dataset import (
    DATASET_FORMAT,
    PER_STEP,
    SAID,
    RecordedEpisode,
    dataset_folder,
    minari_module,
)
from distill.hours.hour import Gone
from distill.hours.source import Piece
from distill.losses import KINDS
from distill.replay import Steps
from distill.rollout import PlayConfig
from distill.summary import Summary
from distill.weights.files import shipped

BY_ID = "minari:"
"""Before the id of a dataset that Minari finds."""
GIVE = "give one that export-hours wrote"


def is_dataset(source: Any) -> bool:
    """Return whether a teacher is given as a dataset: by `minari:ID`, or the folder in which its folder `data` is."""
    if not isinstance(source, str) or source in shipped():
        return False
    inside = (os.path.join(source, name) for name in ("data", "metadata.json"))
    return source.startswith(BY_ID) or any(map(os.path.exists, inside))  # false, too, for a name too long to be one


class RecordedTeacher:
    """Who played a dataset that `export-hours` wrote; there is no network, so nobody can ask or score it.

    Args:
        source: `minari:ID`, or the dataset's folder.
        game: ALE name.

    Raises:
        ValueError: where there is none, for a damaged one, for one without labels or of another game, and where Minari
            is not installed.
    """

    network: None = None
    summary: Summary | None = None

    def __init__(self, source: str, game: str) -> None:
        self.name = source
        folder = dataset_folder(source.removeprefix(BY_ID)) if source.startswith(BY_ID) else Path(source)
        self.file = folder
        try:
            self._dataset = minari_module("minari").MinariDataset(folder / "data")
            labels = (self._dataset[0].infos or {}).get("labels")
            said = self._dataset.storage.metadata.get(SAID)
            if labels is None:
                raise DistillError(f"the dataset {source} has no labels among its infos; {GIVE}")
            if not isinstance(said, dict) or said["format"] != DATASET_FORMAT:
                raise DistillError(f"the dataset {source} does not say how it was played; {GIVE}")
            played = said["game"]
            self.env = EnvRules.of(said["recorded_by"])
            """By which they were played."""
            self.kind: str = said["kind"] or "values"
            """What the labels are, one of `distill.losses.KINDS`; values, where the dataset does not say."""
            self.hours: list[str] = said["hours"]
            """The names of the hours in it, which tell apart what was played."""
            self.described = f"{self.hours[0]} to {self.hours[-1]}"
            """The first of them and the last."""
            self._episodes = list(self._read_episodes())
        except DistillError:
            raise
        except Exception as error:  # whatever Minari and HDF5 raise
            raise DistillError(f"the dataset {source} cannot be read ({_first_line(error)})") from error
        checks.one_of(KINDS, **{f"kind of the dataset {source}": self.kind})
        if played != game:
            raise DistillError(f"the dataset {source} is of {played}, not {game}; give one of {game}")
        if labels.shape[1:] != (actions := len(self.env.actions(game)),):
            raise DistillError(f"the dataset {source} has labels of {labels.shape[-1]} actions; {game} has {actions}")
        self.num_envs, self.length = self._layout()

    def _read_episodes(self) -> Iterator[RecordedEpisode]:
        for of in self._dataset.storage.get_episode_metadata(range(len(self._dataset))):
            environment, begins, ends = (int(of[name]) for name in ("environment", "begins", "ends"))
            yield RecordedEpisode(environment, begins, ends, bool(of["cut"]))

    def _layout(self) -> tuple[int, int]:
        """Return the number of environments, and of the steps of each; all must be whole."""
        ends: dict[int, int] = defaultdict(int)
        for episode in self._episodes:
            if episode.begins != ends[episode.environment]:
                raise DistillError(f"the dataset {self.name} is not whole; {GIVE}")
            ends[episode.environment] = episode.ends
        if sorted(ends) != list(range(len(ends))) or len(set(ends.values())) != 1:
            raise DistillError(f"the dataset {self.name} is not whole; {GIVE}")
        return len(ends), ends[0]

    def steps(self, times: range) -> Steps:
        """Read play.

        Args:
            times: Which steps of each environment.

        Raises:
            Gone: where the dataset is damaged.
        """
        steps: Steps | None = None
        which = [at for at, one in enumerate(self._episodes) if one.begins < times.stop and one.ends > times.start]
        try:
            for at, episode in zip(which, self._dataset.iterate_episodes(which), strict=True):
                if steps is None:
                    steps = Steps.empty(len(times), self.num_envs, episode.infos["labels"].shape[1])
                _put(episode, self._episodes[at], times, steps)
        except Exception as error:  # whatever Minari and HDF5 raise
            raise Gone(f"the dataset {self.name} cannot be read ({_first_line(error)})") from error
        assert steps is not None, "the dataset has these steps"
        return steps


def _put(episode: Any, where: RecordedEpisode, times: range, steps: Steps) -> None:
    """Write the part of an episode that lies in a stretch of play into it."""
    begin, end = max(where.begins, times.start), min(where.ends, times.stop)
    part = slice(begin - where.begins, end - where.begins)
    place = slice(begin - times.start, end - times.start), where.environment
    ended = episode.terminations | episode.truncations
    ended[-1] &= not where.cut
    arrays = {"actions": episode.actions, "rewards": episode.rewards, "ended": ended}
    steps.frames[place] = compress(np.ascontiguousarray(episode.observations[part]))
    for name, of in (arrays | {name: episode.infos[name] for name in PER_STEP}).items():
        getattr(steps, name)[place] = of[part]


class DatasetPlay:
    """A dataset's hours of one game, in their order.

    Args:
        rules: Of whose hours; the steps of one, of `num_envs` environments, are what counts.
        recorded: The dataset.
        memory_hours: That are remembered.
    """

    def __init__(self, rules: PlayConfig, recorded: RecordedTeacher, *, memory_hours: float) -> None:
        self.overlap = False
        self._length = rules.hour_steps // rules.num_envs
        self._recorded = recorded
        self._keep_hours = math.ceil(memory_hours) + 1
        self._remembered = 0
        self._due = range(0)

    def begin_refill(self, pieces: int, *, played: int, new_hour: bool, resuming_mid_hour: bool) -> None:
        """Prepare for a refill; see `PlaySource`. Where a run goes on, more than one hour may be due."""
        self._due = range(self._remembered or max(0, pieces - self._keep_hours), pieces)
        self._remembered = pieces

    def due(self, on_step: Callable[[int, int], None]) -> Iterator[Piece]:
        """Read what is due; see `PlaySource`."""
        for hour in self._due:
            yield Piece(self._recorded.steps(range(hour * self._length, (hour + 1) * self._length)))

    def play_ahead(self, piece: int) -> None:
        """Do nothing: an hour is read in seconds."""

    def is_stored(self, piece: int) -> bool:
        """Return True: every hour is there."""
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return what tells the dataset apart from others."""
        return {"hours": list(self._recorded.hours)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Refuse another dataset than the one that was learned from; one of more of its hours will do.

        Raises:
            ValueError: where it is another.
        """
        before, now = state.get("hours", [None]), self._recorded.hours
        if any(one != other for one, other in zip(before, now, strict=False)):
            raise DistillError(
                f"the dataset {self._recorded.name} holds {self._recorded.described}, which is not what this run has "
                "learned from; give the teacher with which it began"
            )

    def checkpoint_is_written(self) -> None:
        """Do nothing: no file is written."""

    def close(self, *, failed: bool) -> None:
        """Do nothing: nothing is open."""


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".removesuffix(": ")
