"""Online distillation with one command: a teacher that learns, and its students, each a run of `fit` of its own."""

import os
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse.typing import Path_fr
from omegaconf import OmegaConf

from distill.atari.cartridge import num_actions
from distill.errors import DistillError
from distill.jobs.scheduler import CLAIMS, Job, Scheduler, check_begun, check_fit_options
from distill.networks import build
from distill.report.curves import draw_curves
from distill.runs.folder import RUN_DIR_VARIABLE, claim
from distill.weights.best import read_index
from distill.weights.files import save_network

TEACHER_JOB = "teacher"


def online(
    *,
    teacher: Path_fr,
    student: Path_fr,
    seeds: list[int] = [0],  # noqa: B006
    run_dir: str | None = None,
    teacher_options: Sequence[str] = (),
    student_options: Sequence[str] = (),
) -> None:
    """Train a teacher and, beside it, students that learn from its best network so far.

    Each is a run of `fit`, and can as well be started alone: its command is printed. The outcome is the same.

    Args:
        teacher: Config of the teacher's run; its `model.score_every_hours` is set. Its options, here as `--teacher.X`,
            change it.
        student: Config of the students' runs, with the callback `OnlineSwap` that follows `data.teacher`. Its options,
            here as `--student.X`, change it.
        seeds: One student for each.
        run_dir: Folder of these runs; default `runs/online/<number>`. Where it holds runs of the same command, they go
            on.
        teacher_options: What comes after `--teacher.`.
        student_options: What comes after `--student.`.

    Raises:
        ValueError: for configs that do not belong together, for no seed or one twice, and for a folder that is in use.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise DistillError(f"seeds is {seeds}; there must be one at least, and none twice")
    teacher, student = Path(teacher.absolute), Path(student.absolute)
    _check_configs(teacher, teacher_options, student)
    game = check_fit_options(["--config", str(teacher), *teacher_options])["data"]["init_args"]["game"]
    with tempfile.TemporaryDirectory() as scratch:  # for the teacher's run, which is not there yet
        stand_in = Path(scratch) / "teacher.safetensors"
        save_network(stand_in, build("net5", num_actions=num_actions(game)), {"game": game})
        options = [*student_options, "--data.teacher", str(stand_in), "--seed_everything", str(seeds[0])]
        check_fit_options(["--config", str(student), *options])
    begun = run_dir is not None and (Path(run_dir) / CLAIMS).is_dir()
    folder = claim("online", run_dir, resuming=begun)
    os.environ.pop(RUN_DIR_VARIABLE)
    learner = folder / TEACHER_JOB
    jobs = [Job(TEACHER_JOB, ("--config", str(teacher), *teacher_options))]
    for seed in seeds:
        follows = ("--data.teacher", str(learner), "--seed_everything", str(seed))
        of_student = ("--config", str(student), *student_options, *follows)
        has_networks = lambda: read_index(learner) is not None  # noqa: E731
        jobs.append(Job(f"student{seed}", of_student, needs=TEACHER_JOB, may_begin=has_networks))
    check_begun(jobs, folder)
    print(f"run: {folder}", flush=True)
    again = ["--teacher", str(teacher), "--student", str(student), "--seeds", str(seeds), "--run_dir", str(folder)]
    again += [*_with_prefix("teacher", teacher_options), *_with_prefix("student", student_options)]
    how = f"go on with: python -m distill online {shlex.join(again)}"
    scheduler = Scheduler(folder, how, total=len(jobs), at_a_time=len(jobs))
    scheduler.run(jobs)
    scheduler.check()
    try:
        draw_curves([folder], folder / "figure5.png")
    except ValueError as error:
        print(f"no figure: {error}")


def _with_prefix(word: str, options: Sequence[str]) -> list[str]:
    return [f"--{word}.{option[2:]}" if option.startswith("--") else option for option in options]


def _check_configs(teacher: Path, options: Sequence[str], student: Path) -> None:
    """Refuse what would only show when the runs have begun, or never."""
    keeps = OmegaConf.select(_load(teacher), "model.init_args.score_every_hours") is not None
    if not keeps and not any("score_every_hours" in option for option in options):
        raise DistillError(f"{teacher} keeps no best networks; set model.score_every_hours")
    callbacks = OmegaConf.select(_load(student), "trainer.callbacks") or []
    if not any("OnlineSwap" in str(callback) for callback in callbacks):
        raise DistillError(f"{student} does not follow its teacher; add the callback callbacks.online_swap.OnlineSwap")


def _load(config: Path) -> Any:
    try:
        return OmegaConf.load(config)
    except (OSError, yaml.YAMLError) as error:
        raise DistillError(f"{config} is no config ({str(error).splitlines()[0]})") from error
