"""Weight files on the Hugging Face hub: `hf:owner/name`, perhaps with a file and a revision, in the hub's own cache.

A name that says file and commit is *pinned*: it means the same bytes for ever, and needs no network once they are in
the cache. They are read as those of any other file: nothing but tensors and plain values is ever unpickled.
"""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from distill.errors import DistillError
from distill.weights.files import said_of

HUB_PREFIX = "hf:"
HUB_NAME = re.compile(r"hf:([\w.-]+/[\w.-]+)(?:/([^/@].*?))?(?:@([^@]+))?")
COMMIT = re.compile("[0-9a-f]{40}")
HUB_FILES = (".safetensors", ".zip", ".cleanrl_model", ".gz")
"""How the names of files end that may be meant where none is named."""
NO_WEIGHTS = ("train_eval_metrics.zip",)
"""What RL Zoo puts beside an agent of Stable-Baselines3, and ends alike."""
MOST_NAMED = 8
"""Files that a message lists."""


class HubName(NamedTuple):
    """What `hf:owner/name/file@revision` says."""

    repository: str
    file: str | None
    revision: str | None

    @classmethod
    def of(cls, source: str) -> "HubName":
        """Take a name apart.

        Raises:
            ValueError: for what is none.
        """
        found = HUB_NAME.fullmatch(source)
        if found is None or {"", ".", ".."} & set((found[2] or "file").split("/")):
            raise DistillError(
                f"{source!r} names nothing on the Hugging Face hub; give hf:owner/name or hf:owner/name/file, and "
                "perhaps @revision after it"
            )
        return cls(*found.groups())

    def __str__(self) -> str:
        file = "" if self.file is None else f"/{self.file}"
        return f"{HUB_PREFIX}{self.repository}{file}" + ("" if self.revision is None else f"@{self.revision}")

    @property
    def is_pinned(self) -> bool:
        """Whether it says which file and which commit."""
        return self.file is not None and self.revision is not None and COMMIT.fullmatch(self.revision) is not None

    def may_mean(self, other: "HubName") -> bool:
        """Return whether it leaves open what another one says."""
        return self.repository == other.repository and self.revision is None and self.file in (None, other.file)


def on_hub(source: str) -> bool:
    """Return whether a source of weights is named as one on the hub."""
    return source.startswith(HUB_PREFIX)


def title_of(source: str) -> str:
    """Return what heads a column about a source of weights: a file's or a folder's name."""
    return Path(HubName.of(source).file or source).name if on_hub(source) else Path(source).name


def pinned(source: str, known: Iterable[str] = ()) -> str:
    """Return a name on the hub with its file and its commit, which is then in the cache; any other source as it is.

    Args:
        source: A name that is pinned stays as it is, and is not looked for.
        known: Pinned names; the first that may be meant is taken, where no revision is asked for.

    Raises:
        ValueError: as `hub_file`.
    """
    if not on_hub(source):
        return source
    name = HubName.of(source)
    if name.is_pinned:
        return source
    return next((one for one in known if name.may_mean(HubName.of(one))), None) or str(_fetched(name)[0])


def hub_file(source: str) -> Path:
    """Return where in the cache a file of the hub is, fetched first if it is not there.

    Args:
        source: Its name; without a file, the repository's only one that may hold weights is meant; without a revision,
            the newest.

    Raises:
        ValueError: for a name that is none, a repository, revision or file that is not there, and where several files
            may be meant; without a network, and for an answer that is none.
    """
    name = HubName.of(source)
    _check_installed(source)
    from huggingface_hub import try_to_load_from_cache

    if name.is_pinned and name.file is not None:
        found = try_to_load_from_cache(name.repository, name.file, revision=name.revision)
        if isinstance(found, str):
            return Path(found)
    return _fetched(name)[1]


def _check_installed(source: str) -> None:
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise DistillError(
            f'{source} needs the package huggingface_hub; pip install "distill[hub]" installs it'
        ) from error


def _fetched(name: HubName) -> tuple[HubName, Path]:
    """Fetch a file, unless it is in the cache; return its pinned name, and where it is.

    The repository is asked first, once and with a limit of time: the library's download would try again for minutes.
    """
    _check_installed(str(name))
    from huggingface_hub import HfApi, constants, hf_hub_download

    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        info = HfApi(endpoint=endpoint).model_info(
            name.repository, revision=name.revision, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
        if info.sha is None:
            raise ValueError("it does not say which commit it has")
        file = _file_of(name, [sibling.rfilename for sibling in info.siblings or ()])
        found = hf_hub_download(name.repository, file, revision=info.sha, endpoint=endpoint)
    except DistillError:
        raise
    except Exception as error:  # of this library, and of those by which it asks
        raise _explained(name, error) from error
    return HubName(name.repository, file, info.sha), Path(found)


def _file_of(name: HubName, files: Sequence[str]) -> str:
    """Choose a repository's file."""
    readable = [file for file in files if file.endswith(HUB_FILES) and Path(file).name not in NO_WEIGHTS]
    more = f" and {len(readable) - MOST_NAMED} more" if len(readable) > MOST_NAMED else ""
    listed = ", ".join(readable[:MOST_NAMED]) + more
    if name.file is not None:
        if name.file not in files:
            raise DistillError(f"{name}: there is no such file; files that may be meant are {listed or 'none'}")
        return name.file
    if not readable:
        raise DistillError(f"{name} has no file that ends in {', '.join(HUB_FILES)}; name the file, if it has weights")
    if len(readable) > 1:
        raise DistillError(f"{name} has {len(readable)} files that may be meant; name one: {listed}")
    return readable[0]


def _explained(name: HubName, error: Exception) -> DistillError:
    """Return in one line what has kept a file from being fetched."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # of which it says nothing
    page, login = f"{HUB_PREFIX}{name.repository}", "log in with `hf auth login`, or set HF_TOKEN"
    if isinstance(error, errors.HFValidationError):
        return DistillError(f"{name}: {said_of(error)}")
    if isinstance(error, errors.GatedRepoError):
        return DistillError(f"{page} is gated; ask for access on its page, then {login}")
    if isinstance(error, errors.RepositoryNotFoundError):
        return DistillError(f"{page} is not there, or private; for a private one {login}")
    if isinstance(error, errors.RevisionNotFoundError):
        return DistillError(f"{page} has no revision {name.revision}; give a branch, a tag or a commit")
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        said = error.server_message or error.response.reason_phrase
        return DistillError(f"{name}: the hub answers {status}, {said}" + (f"; {login}" if status == 401 else ""), 1)
    if isinstance(error, OSError) and error.errno is not None:  # else of the network
        return DistillError(f"{name} cannot be kept in the cache: {error}", 1)
    kept = _newest_kept(name)
    how = "" if kept is None else f"; in the cache is {kept}, which needs no network"
    return DistillError(f"{name}: no answer from the hub ({said_of(error)}){how}", 1)


def _newest_kept(name: HubName) -> HubName | None:
    """Return of what is in the cache, and may be meant, the file that was fetched last."""
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        repositories = scan_cache_dir().repos
    except (CacheNotFound, ValueError, OSError):
        return None
    kept = [
        (file.blob_last_modified, HubName(name.repository, place, revision.commit_hash))
        for repository in repositories
        if (repository.repo_type, repository.repo_id) == ("model", name.repository)
        for revision in repository.revisions
        for file in revision.files
        if (place := file.file_path.relative_to(revision.snapshot_path).as_posix()).endswith(HUB_FILES)
    ]
    return max((one for one in kept if name.may_mean(one[1])), default=(0.0, None))[1]
