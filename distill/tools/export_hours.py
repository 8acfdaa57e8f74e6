"""`python -m distill export-hours`: a teacher's recorded play as a dataset for others."""

from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from distill import checks
from distill.atari.rules import EnvRules
from distill.console.note import note
from distill.errors import DistillError
from distill.files.store import folder_atomically
from distill.hours.chain import RecordedHour, chain_of, steps_in
from distill.hours.dataset import DATASET_FORMAT, SAID, check_dataset_id, dataset_folder, minari_module, write_dataset
from distill.weights.digests import digest_of
from distill.weights.load import load_playing


def export_hours(
    store: str,
    format: Literal["minari"] = "minari",
    out: str | None = None,
    name: str | None = None,
    hours: int | None = None,
    teacher: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write a teacher's recorded hours as a Minari dataset: frames, actions, rewards, ends, and the teacher's values.

    An observation is the newest frame alone, uint8 [84, 84]. Infos hold, for each step, the teacher's `labels`, float32
    [A], `lost_life`, and `first`. `python -m distill fit --data.teacher DATASET` learns from it.

    Args:
        store: A folder of recorded hours: a run's, or its `data.store`. Where it holds several teachers' or games', the
            file of the last hour of one, `pong-0002-....hour`.
        format: `minari`.
        out: The folder that holds datasets, each below it by its name; by default Minari's own, `$MINARI_DATASETS_PATH`
            or ~/.minari/datasets, where `minari.load_dataset(name)` finds it.
        name: The dataset's id; by default `distill/pong-v0`, after the game.
        hours: How many, the last ones, 1 or more; None means all that follow each other.
        teacher: Who played, as for `fit`; checked, and the dataset then says whether its outputs are values or logits.
        overwrite: Whether a dataset that exists may be replaced.
    """
    if hours is not None:
        checks.at_least(1, hours=hours)
    minari_module("minari")
    chain = chain_of(Path(store), hours)
    game = chain[-1].depends_on["game"]
    name = name or f"distill/{game}-v0"
    check_dataset_id(name)
    folder = dataset_folder(name) if out is None else Path(out) / name
    said = described_play(chain, teacher)
    _check_dataset_output(folder, overwrite=overwrite)
    with note(f"reading {len(chain)} hours, and writing them to {folder} ..."), folder_atomically(folder) as new:
        steps = steps_in(chain)
        episodes = write_dataset(
            new,
            name,
            steps,
            max_steps=chain[-1].depends_on["max_frames"] / EnvRules.of(chain[-1].depends_on).frame_skip,
            said={"description": f"A teacher's play of {game}, with its values of all actions.", SAID: said},
        )
    counted = f"{len(chain)} hour{'s' if len(chain) > 1 else ''}"
    print(f"{counted}, {steps.ended.size:,} steps, {episodes:,} episodes of {game}: {name}")
    print(f"written: {folder}")


def described_play(chain: list[RecordedHour], teacher: str | None) -> dict[str, Any]:
    """Describe hours and who played them, as plain values.

    Args:
        chain: The hours.
        teacher: Who is said to have played them; None where nobody says.

    Raises:
        ValueError: where another has.
    """
    last = chain[-1]
    env = EnvRules.of(last.depends_on)
    played_by = list(dict.fromkeys(hour.depends_on["teacher"] for hour in chain))
    found = load_playing(teacher, last.depends_on["game"]) if teacher else None
    if found is not None and [digest_of(found.network)] != played_by:
        raise DistillError(f"{teacher} has not played these hours; teacher must be who did, or be left out")
    return {
        "format": DATASET_FORMAT,
        "game": last.depends_on["game"],
        "actions": list(env.action_names(last.depends_on["game"])),
        "preprocessing": env.preprocessing,
        "teacher": None if found is None else Path(found.name).name,
        "kind": None if found is None else found.kind,
        "teacher_digests": played_by,
        "hours": [hour.name for hour in chain],
        "recorded_by": last.depends_on,
        "versions": {one: version(one) for one in ("distill", "minari")},
    }


def _check_dataset_output(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that may not be written, or replaced; make none."""
    if (folder.exists() or folder.is_symlink()) and not (folder / "data" / "metadata.json").is_file():
        raise DistillError(f"out has {folder}, which is no dataset; give another out, or another name")
    if folder.exists() and not overwrite:
        raise DistillError(f"out has {folder}, which exists; give another name, or --overwrite to replace it")
    checks.output("out", folder if not folder.exists() else folder / "data" / "metadata.json", overwrite=True)
