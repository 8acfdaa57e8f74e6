"""The best networks of a learning teacher so far: small weight files, and an index that is only ever replaced whole.

Whoever reads it, on this machine or on another that shares the folder, sees at any moment which network was the best at
which simulated hour. What the index says of an hour that has passed never changes.
"""

import copy
import hashlib
import json
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import torch
from torch import nn

from distill.errors import DistillError
from distill.files.store import locked, write_atomically
from distill.networks import DQN
from distill.summary import Summary
from distill.weights.digests import digest
from distill.weights.files import load_own, save_network

FOLDER = "best"
"""Of these files, in the run's folder."""
BEST_INDEX = "index.json"
INDEX_CHECKSUM = "sha256"
"""In the index, of the rest of it."""


class Entry(NamedTuple):
    """A network that scored higher than all before it."""

    hour: int
    """Simulated hours that it had learned for."""
    score: float
    file: str
    digest: str
    """Of its weights."""


class Index(NamedTuple):
    """What is known of a teacher that learns."""

    game: str
    hours: int
    """Simulated hours that it has learned for; all that is scored up to there is in `entries`."""
    ended: bool
    """Whether it learns no more."""
    entries: tuple[Entry, ...]
    """In the order of their hours, and so of their scores."""
    scores: tuple[tuple[int, float], ...]
    """Of all networks that were scored: hours and score."""

    def best(self, hour: int) -> Entry:
        """Return the best network of an hour or before; there is one from hour 0 on."""
        return [entry for entry in self.entries if entry.hour <= hour][-1]


def read_index(run: Path) -> Index | None:
    """Read the index of a run; None where there is none yet.

    Raises:
        ValueError: for a file that is no index.
    """
    path = run / FOLDER / BEST_INDEX
    try:
        content = json.loads(path.read_text())
        if content.pop(INDEX_CHECKSUM, None) not in (None, _index_checksum(content)):  # older ones have none
            raise DistillError("its checksum is wrong")
        entries = tuple(Entry(**entry) for entry in content["entries"])
        scores = tuple((hour, score) for hour, score in content["scores"])
        index = Index(**{**content, "entries": entries, "scores": scores})
        if not index.entries or index.entries[0].hour:
            raise DistillError("it has no network of hour 0")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DistillError(f"{path} is no index of best networks ({str(error).splitlines()[0]})") from error
    return index


def read_network(run: Path, entry: Entry, game: str) -> DQN:
    """Read one of a run's best networks.

    Raises:
        ValueError: for a file that is missing or damaged, or of another game.
    """
    path = run / FOLDER / entry.file
    network, _ = load_own(path, game)
    if digest(network) != entry.digest:
        raise DistillError(f"{path} is not the network that {run / FOLDER / BEST_INDEX} names")
    return network


def _index_checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Taken(DistillError):
    """A folder is another run's."""

    code = 1


class BestNetworks:
    """The writer of a run's index; there is but one at a time.

    A run that goes on from an earlier hour than the index has reached learns those hours again, but what the index says
    of them stays as it is.

    Args:
        run: The run's folder.
        game: That is played.
        updates: That the run has taken, at its beginning 0.

    Raises:
        Taken: where another process writes, and for a new run in the folder of an old one.
    """

    def __init__(self, run: Path, game: str, updates: int) -> None:
        self.folder = run / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = locked((self.folder / "lock").open("ab"))
        if lock is None:
            raise Taken(f"another run is writing {self.folder}; give this one a folder of its own")
        self._lock: IO[bytes] = lock
        found = read_index(run)
        if found is not None and (found.game != game or (updates == 0 and found.hours > 0)):
            self._lock.close()
            raise Taken(f"{self.folder} is of another run; give this one a folder of its own")
        self.index = found or Index(game, 0, False, (), ())

    def is_new(self, hours: int) -> bool:
        """Return whether an hour was not scored yet."""
        return not self.index.entries or hours > self.index.hours

    def advance(self, hours: int) -> None:
        """Note that a number of hours have been learned."""
        if hours > self.index.hours:
            self._replace(self.index._replace(hours=hours))

    def scored(self, hours: int, score: float, network: nn.Module, header: dict[str, Any]) -> bool:
        """Note a score, and keep the network if it is higher than all before; say whether it is.

        Args:
            hours: That it has learned for.
            score: Its mean score.
            network: As `rounded` gives it.
            header: For its file.
        """
        scores = (*self.index.scores, (hours, score))
        if self.index.entries and score <= self.index.entries[-1].score:
            self._replace(self.index._replace(hours=hours, scores=scores))
            return False
        file = f"hour{hours:04}.safetensors"
        save_network(self.folder / file, network, header, torch.float16)
        entry = Entry(hours, score, file, digest(network))
        self._replace(self.index._replace(hours=hours, entries=(*self.index.entries, entry), scores=scores))
        return True

    def begin(self) -> None:
        """Note that the teacher learns, perhaps again after it had ended."""
        if self.index.ended:
            self._replace(self.index._replace(ended=False))

    def end(self) -> None:
        """Note that the teacher learns no more."""
        if not self.index.ended:
            self._replace(self.index._replace(ended=True))

    def close(self) -> None:
        """Release the folder to other writers."""
        self._lock.close()

    def _replace(self, index: Index) -> None:
        self.index = index
        content = {**index._asdict(), "entries": [entry._asdict() for entry in index.entries]}
        content[INDEX_CHECKSUM] = _index_checksum(content)
        write_atomically(self.folder / BEST_INDEX, (json.dumps(content, indent=2) + "\n").encode())


Rounded = TypeVar("Rounded", bound=nn.Module)


def rounded(network: Rounded) -> Rounded:
    """Copy a network as its file will hold it, in half precision: what is kept is what was scored."""
    return copy.deepcopy(network).half().float().requires_grad_(False).eval()


def summary_header(game: str, hours: int, summary: Summary) -> dict[str, Any]:
    """Return a file's header: what the network is and what it scored."""
    return {"game": game, "trained": {"hours": hours}, "score": summary._asdict()}
