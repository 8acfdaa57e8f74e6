"""Online distillation with one command: a teacher that learns, and its students, each a run of `fit` of its own."""

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse.typing import Path_fr
from omegaconf import OmegaConf
from rich.console import Console

from distill.atari.cartridge import num_actions
from distill.errors import DistillError
from distill.networks import build
from distill.report.curves import draw_curves
from distill.runs.folder import RUN_DIR_VARIABLE, claim
from distill.runs.process import POLL_SECONDS, CheckOptions, Forwarded, Run
from distill.runs.side_by_side import RUN_LINE_SECONDS, THREADS_VARIABLE, Board, threads_of
from distill.runs.signals import Signals, Stopped
from distill.runs.status import LINE_SECONDS_VARIABLE
from distill.weights.best import read_index
from distill.weights.files import save_network


def online(
    *,
    teacher: Path_fr,
    student: Path_fr,
    seeds: list[int] = [0],  # noqa: B006
    run_dir: str | None = None,
    teacher_options: Forwarded = (),
    student_options: Forwarded = (),
    check_options: CheckOptions,
) -> None:
    """Train a teacher and, beside it, students that learn from its best network so far.

    Each is a run of `fit`, and can as well be started alone: its command is printed. The outcome is the same.

    Args:
        teacher: Config of the teacher's run; its `model.score_every_hours` is set. Its options, here as `--teacher.X`,
            change it.
        student: Config of the students' runs, with the callback `OnlineSwap` that follows `data.teacher`. Its options,
            here as `--student.X`, change it.
        seeds: One student for each.
        run_dir: Folder of these runs; default `runs/online/<number>`.
        teacher_options: What comes after `--teacher.`.
        student_options: What comes after `--student.`.
        check_options: Checks the options of a run.

    Raises:
        ValueError: for configs that do not belong together, for no seed or one twice, and for a folder that is in use.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise DistillError(f"seeds is {seeds}; there must be one at least, and none twice")
    teacher, student = Path(teacher.absolute), Path(student.absolute)
    _check_configs(teacher, teacher_options, student)
    game = check_options(["--config", str(teacher), *teacher_options])["data"]["init_args"]["game"]
    with tempfile.TemporaryDirectory() as scratch:  # for the teacher's run, which is not there yet
        stand_in = Path(scratch) / "teacher.safetensors"
        save_network(stand_in, build("net5", num_actions=num_actions(game)), {"game": game})
        options = [*student_options, "--data.teacher", str(stand_in), "--seed_everything", str(seeds[0])]
        check_options(["--config", str(student), *options])
    folder = claim("online", run_dir, resuming=False)
    os.environ.pop(RUN_DIR_VARIABLE)
    learner = Run("teacher", folder, ["--config", str(teacher), *teacher_options])
    whose = ["--data.teacher", str(learner.folder)]
    students = [
        Run(
            f"student{seed}",
            folder,
            ["--config", str(student), *student_options, *whose, "--seed_everything", str(seed)],
        )
        for seed in seeds
    ]
    threads = threads_of(1 + len(students))
    environment = {**threads, LINE_SECONDS_VARIABLE: RUN_LINE_SECONDS}
    print(f"run: {folder}")
    for run in (learner, *students):
        print(f"{run.name}: {THREADS_VARIABLE}={threads[THREADS_VARIABLE]} {' '.join(run.command)}")
    try:
        with Signals():
            try:
                _attend(learner, students, environment)
            finally:
                for run in (learner, *students):
                    run.ask_to_stop()
                for run in (learner, *students):
                    run.stop()
    except Stopped as stop:
        raise DistillError(f"interrupted; {folder}/*.log end with how each run goes on", code=stop.code) from stop
    for run in (learner, *students):
        if run.code:
            raise DistillError(f"{run.name} failed: {run.reason}", code=1)
    try:
        draw_curves([folder], folder / "figure5.png")
    except ValueError as error:
        print(f"no figure: {error}")


def _check_configs(teacher: Path, options: Forwarded, student: Path) -> None:
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


def _attend(learner: Run, students: Sequence[Run], environment: dict[str, str]) -> None:
    """Start all, show what they say, and wait until the last has ended; without its teacher none goes on."""
    everyone = {run.name: run for run in (learner, *students)}
    learner.start(environment)
    with Board(Console(stderr=True, highlight=False)) as board:
        while True:
            over = not any(run.running for run in everyone.values())
            board.show(everyone, waits="waits for the teacher's first network")
            if learner.code or over:
                return
            if not students[0].started and read_index(learner.folder) is not None:
                for run in students:
                    run.start(environment)
            time.sleep(POLL_SECONDS)
