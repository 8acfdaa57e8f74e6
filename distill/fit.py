"""The commands of the Trainer: `python -m distill fit --config conf/compress.yaml`, and `validate`.

LightningCLI with subclasses by `class_path`, omegaconf interpolation that follows command-line overrides, one line for
each mistake, and a folder for each run. One class, in the order in which Lightning calls its hooks: what each of them
decides is elsewhere, and to divide it would hide that order.
"""

import errno
import functools
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from jsonargparse import set_parsing_settings
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger

from distill import precision
from distill.console.arguments import names_of, with_config_of_checkpoint, with_config_of_run
from distill.console.configs import with_found, with_plain_values
from distill.console.mistakes import Parser, allow_classes, one_line
from distill.console.preflight import check_callbacks, check_checkpoint, check_size, check_trainer
from distill.console.quiet import quieten
from distill.data import ReplayDataModule
from distill.errors import MISTAKE_CODE, DistillError
from distill.files.checkpoint import newest, read_checkpoint
from distill.files.store import write_atomically
from distill.module import Diverged, PolicyModule
from distill.runs import loggers
from distill.runs.checkpoints import Checkpoints, SealedFiles
from distill.runs.config import (
    changes,
    check_plain,
    known_sources,
    pin_sources,
    replace_config,
    whole_config,
)
from distill.runs.folder import (
    CONFIG,
    LOG,
    RESUME_LAST,
    RUN_DIR_VARIABLE,
    STOPPED,
    alone_in,
    claim,
    give_back,
    is_of,
    last_checkpoint,
)
from distill.runs.loggers import Metrics
from distill.runs.members import MemberAgreement, ensembles_of
from distill.runs.process import rank
from distill.runs.progress import HourBar, PlayScore
from distill.runs.results import ScoreTable, save_results, show_scores
from distill.runs.signals import Signals, Stopped
from distill.runs.status import append_line
from distill.student import StudentModule
from distill.teacher import TeacherModule

FILES_FAIL = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR),
    *(errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENOTCONN, errno.EMFILE, errno.ENFILE),
)
"""Reasons why a file cannot be written or read that are neither the user's mistake nor ours."""


class FitParser(Parser, LightningArgumentParser):
    """Lightning's parser, whose mistakes come as one line."""

    options_of = {  # noqa: RUF012
        "data": (ReplayDataModule,),
        "model": (StudentModule, TeacherModule),
        "trainer": (L.Trainer,),
    }
    allowed_values = {"trainer.precision": precision.PRECISIONS}  # noqa: RUF012


class DistillCLI(LightningCLI):
    """`fit` and `validate`, each run with a folder of its own."""

    run_dir: Path
    begins_with: str | None = None
    """`pretrained` of a run that goes on from a checkpoint, and needs that file no more."""
    signals: Signals
    until_its_end: ExitStack
    bar: HourBar
    checkpoints: Checkpoints

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Name the Trainer's methods that are commands, and their arguments that come from `model` and `data`."""
        return {
            "fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule"},
            "validate": {"model", "dataloaders", "datamodule"},
        }

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's seed."""
        parser.add_argument("--seed_everything", type=int, default=0, help="The run's seed, 0 or more.")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's folder; hand the data module's game to the model and the seed to the data module."""
        parser.add_argument(
            "--run_dir", type=str | None, default=None, help="The run's folder; default runs/<name>/<number>."
        )
        parser.add_argument(
            "--resume",
            type=str | None,
            default=None,
            help="A run's folder: go on where it stopped, with its config; needs no --config. Only for fit.",
        )
        parser.link_arguments("data.init_args.game", "model.init_args.game", compute_fn=names_of)
        parser.link_arguments("seed_everything", "data.init_args.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the command line."""
        assert isinstance(args, list), "`run_cli` gives nothing else"
        assert isinstance(parser, FitParser), "`run_cli` gives nothing else"
        try:
            self.config = parser.parse_args(args)
        except Exception as error:  # of OmegaConf and others, which the parser lets through
            raise DistillError(parser.explain(str(error), args)) from error
        seed = self.config[self.config.subcommand].seed_everything
        if not 0 <= seed < 2**32:
            raise DistillError(f"seed_everything is {seed}; it must be between 0 and {2**32 - 1}")

    def _parse_ckpt_path(self) -> None:
        # Lightning would let the checkpoint's hyperparameters override config and command line, without a word.
        pass

    def before_instantiate_classes(self) -> None:
        """Refuse what would fail later; claim the run's folder."""
        config = self.config[self.subcommand]
        if config.resume is not None:
            if self.subcommand != "fit":
                raise DistillError("resume is for fit; validate takes --ckpt_path")
            config.run_dir, config.ckpt_path = config.resume, RESUME_LAST
        checkpoint, resuming = config.ckpt_path, config.ckpt_path == RESUME_LAST
        try:
            if resuming:
                if config.run_dir is None:
                    raise DistillError(
                        f"ckpt_path is {RESUME_LAST}, of a run that is not named; give its folder as run_dir"
                    )
                config.ckpt_path = last_checkpoint(Path(config.run_dir))
            elif checkpoint is not None:
                if not Path(checkpoint).is_file():
                    raise DistillError(f"ckpt_path {checkpoint} does not exist")
                read_checkpoint(Path(checkpoint))
                resuming = config.run_dir is not None and is_of(Path(checkpoint), Path(config.run_dir))
            if config.trainer.precision is not None:
                device = "cpu" if config.trainer.accelerator == "cpu" or not torch.accelerator.is_available() else "gpu"
                config.trainer.precision, note = precision.fitting(
                    config.trainer.precision, device, "trainer.precision"
                )
                self.say(note)
            pin_sources(config, known_sources(Path(config.run_dir)) if resuming else ())
            if config.ckpt_path is not None:
                self.begins_with, config.model.init_args.pretrained = config.model.init_args.get("pretrained"), None
            if self.subcommand == "fit":
                hours = config.trainer.max_epochs
                if hours is not None and hours < 1 and hours != -1:
                    raise DistillError(
                        f"trainer.max_epochs is {hours}; it must be 1 simulated hour or more, or -1 for no end"
                    )
                if config.trainer.max_steps != -1:
                    raise DistillError(
                        f"trainer.max_steps is {config.trainer.max_steps}; it must be -1: max_epochs says the hours"
                    )
                name = name_of_config(Path(config.config[0].relative)) if config.get("config") else "fit"
                self.run_dir = self.claim(name, config.run_dir, resuming=resuming)
            elif config.ckpt_path is None and config.model.init_args.get("pretrained") is None:
                raise DistillError(
                    "validate scores a checkpoint; give it as --ckpt_path, or its weights as --model.pretrained"
                )
        except OSError as error:
            raise DistillError(str(error)) from error

    def say(self, note: str | None) -> None:
        """Print a note, once for all processes."""
        if note is not None and rank() == 0:
            print(f"note: {note}", file=sys.stderr)

    def claim(self, name: str, run_dir: str | None, *, resuming: bool) -> Path:
        """Take the run's folder, for as long as the run goes on."""
        folder = claim(name, run_dir, resuming=resuming)
        if rank() == 0:
            self.until_its_end.enter_context(alone_in(folder))
        return folder

    def instantiate_classes(self) -> None:
        """Build data, model and Trainer; what they refuse is the user's mistake."""
        try:
            super().instantiate_classes()
            self.model.play_by(self.datamodule.env)
            check_trainer(self.trainer, self.model, self.datamodule)
            check_size(self.datamodule)
            if self.subcommand == "fit":
                check_callbacks(self.trainer, self.model)
            if (checkpoint := self.config[self.subcommand].ckpt_path) is not None:
                check_checkpoint(Path(checkpoint), self.model)
            if self.subcommand == "fit":
                self.model.check_teachers(self.datamodule.teacher_kinds)
                self.datamodule.check_hours(self.trainer.max_epochs)
            for callback in self.trainer.callbacks:  # type: ignore[attr-defined]  # Lightning sets it undeclared
                if hasattr(callback, "check_run"):
                    callback.check_run(self.model)
        except (ValueError, TypeError, MisconfigurationException) as error:
            if self.subcommand == "fit":
                give_back(self.run_dir)
            raise DistillError(one_line(str(error))) from error

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Add the bar, and for `fit` the run folder's checkpoints and, before the config's loggers, CSV."""
        self.bar = HourBar()
        callbacks: list[Callback] = [self.bar, PlayScore(), ScoreTable()]
        if ensembles := ensembles_of(self.datamodule):
            callbacks.append(MemberAgreement(ensembles))
        if self.subcommand == "fit":
            self.checkpoints = Checkpoints(self.run_dir / "checkpoints", self.signals)
            callbacks.append(self.checkpoints)
            kwargs["default_root_dir"] = self.run_dir
            logger = self._get(self.config_init, "trainer").logger
            if logger is not False:
                others = [] if logger in (None, True) else [logger] if isinstance(logger, Logger) else logger
                kwargs["logger"] = [Metrics(self.run_dir, self.datamodule.updates_per_hour), *others]
        else:
            kwargs |= {"logger": False, "enable_checkpointing": False}
        self.trainer_defaults["callbacks"] = callbacks
        trainer = super().instantiate_trainer(**kwargs)
        trainer.strategy.checkpoint_io = SealedFiles()
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        if subcommand != "fit" or rank() != 0:
            self._run(subcommand)
            return
        try:
            self._run(subcommand)
        except BaseException as error:
            if not isinstance(error, DistillError) or error.code != MISTAKE_CODE:
                with suppress(OSError):  # as of a full disk
                    note_end(self.run_dir, error)
            raise

    def _run(self, subcommand: str) -> None:
        try:
            try:
                super()._run_subcommand(subcommand)
            finally:
                self.bar.stop()
        except Stopped as stop:
            raise DistillError(f"interrupted{self.resuming()}", code=stop.code) from stop
        except Diverged as error:
            raise DistillError(f"{error}{self.resuming(' with another learning rate')}", code=1) from error
        except DistillError:
            raise
        except MisconfigurationException as error:  # a checkpoint of more hours than the run is to have
            raise DistillError(one_line(str(error))) from error
        except Exception as error:
            if self.signals.asked is not None:  # what was cut off by it, here or in another process, says less
                raise DistillError(f"interrupted{self.resuming()}", code=128 + self.signals.asked) from error
            if not isinstance(error, OSError) or error.errno not in FILES_FAIL:
                raise
            raise DistillError(f"{error}{self.resuming(' when files can be written there')}", code=1) from error

    def resuming(self, when: str = "") -> str:
        """Describe how to resume this run from its last checkpoint."""
        if self.subcommand != "fit":
            return ""
        begun = newest(self.run_dir / "checkpoints")[0] is not None
        how = "resume" if begun else "it has no checkpoint yet; begin again"
        return f"; {how}{when} with: python -m distill fit --resume {shlex.quote(str(self.run_dir))}"

    def before_fit(self) -> None:
        """Print the run's folder, and what changes where it goes on; see to its config, also in its loggers."""
        config = self.config["fit"].clone()
        if self.begins_with is not None:
            config.model.init_args.pretrained = self.begins_with
        try:
            check_plain(config)
            text = whole_config(yaml.safe_load(self._parser("fit").dump(config, skip_none=False)))
            differs, hours = self._changes(text)
            if self.trainer.is_global_zero:
                loggers.log_config(self.trainer.loggers, yaml.safe_load(text))
        except ValueError as error:
            give_back(self.run_dir)
            raise DistillError(str(error)) from error
        self.checkpoints.config = text
        if not self.trainer.is_global_zero:
            return
        if hours is None:
            write_atomically(self.run_dir / CONFIG, text.encode())
        else:  # with the first checkpoint that is learned under it
            self.checkpoints.on_first = functools.partial(replace_config, self.run_dir, text, hours)
        note_end(self.run_dir, None)
        self.bar.log_to(self.run_dir / LOG)
        for line in (f"run: {self.run_dir}", *(f"{change} from hour {hours:g}" for change in differs)):
            print(line)
            append_line(self.run_dir / LOG, line)

    def _changes(self, text: str) -> tuple[list[str], float | None]:
        """Return what changes where this run goes on, and from which hour on; no hour where it begins."""
        path = self.config["fit"].ckpt_path
        if path is None or not is_of(Path(path), self.run_dir) or not (self.run_dir / CONFIG).is_file():
            return [], None
        updates = read_checkpoint(Path(path)).get("global_step", 0)
        hours = round(updates / self.datamodule.updates_per_hour, 2)
        return changes((self.run_dir / CONFIG).read_text(), text), hours

    def after_fit(self) -> None:
        """Write the networks, score whoever was not scored yet, and print the table."""
        if self.datamodule.teachers and self.model.scored_updates != self.trainer.global_step:
            self.trainer.validate(self.model, self.datamodule, verbose=False)
        if self.trainer.is_global_zero:
            scores = save_results(self.model, self.datamodule, self.run_dir)
            loggers.log_end(self.trainer.loggers, scores, self.model, self.datamodule, self.run_dir)
            self.bar.finish()
            show_scores(scores)  # when all is kept: whoever is to read it may have gone
            print(f"run: {self.run_dir}")

    def after_validate(self) -> None:
        """Print the scores."""
        if self.trainer.is_global_zero:
            self.bar.finish()
            for game, summary in self.model.summaries.items():
                low, high = summary.interval95
                between = f" ({low:.1f} to {high:.1f})" if summary.episodes > 1 else ""
                episodes = "episodes" if summary.episodes > 1 else "episode"
                print(f"{game}: {summary.mean:.1f}{between}, {summary.episodes} {episodes}")


def name_of_config(path: Path) -> str:
    """Name a run after its first config: that file's name or, of another run's config, that run's."""
    if path.name != CONFIG:
        return path.stem
    folder = path.absolute().parent
    return folder.parent.name if folder.name.isdigit() else folder.name


class Rehearsal(DistillCLI):
    """`fit` up to where a run would begin; leaves nothing behind."""

    signals = Signals()

    def say(self, note: str | None) -> None:
        """Print nothing; the run will."""

    def claim(self, name: str, run_dir: str | None, *, resuming: bool) -> Path:
        """Claim nothing."""
        return Path(os.devnull)

    def _run_subcommand(self, subcommand: str) -> None:
        pass


def run_fit(args: list[str]) -> None:
    """Run `fit` or `validate`.

    Args:
        args: Its name, and its options.
    """
    with Signals() as DistillCLI.signals, ExitStack() as DistillCLI.until_its_end:
        try:
            run_cli(DistillCLI, args)
        except Stopped as stop:
            raise DistillError("interrupted", code=stop.code) from stop
        finally:
            if rank() == 0:  # it is no other run's that this process, or one that it starts, may begin
                os.environ.pop(RUN_DIR_VARIABLE, None)


def note_end(run: Path, error: BaseException | None) -> None:
    """Write down in a run's folder what has ended it before its time; nothing where nothing did."""
    if error is None:
        (run / STOPPED).unlink(missing_ok=True)
    elif (run / CONFIG).is_file():  # it had begun
        reason = str(error) or type(error).__name__
        append_line(run / LOG, reason)
        write_atomically(run / STOPPED, f"{reason}\n".encode())


def check_options(options: Sequence[str]) -> dict[str, Any]:
    """Check options of `fit`, building all but the run; what is wrong with them ends as it would end a run.

    Returns:
        The whole config.
    """
    return run_cli(Rehearsal, ["fit", *options]).config["fit"].as_dict()


def run_cli(kind: type[DistillCLI], args: list[str]) -> DistillCLI:
    """Run a command line of `fit` or `validate`."""
    quieten()
    allow_classes()
    set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    args = with_found(with_config_of_checkpoint(with_config_of_run(with_plain_values(args))))
    command = {"parser_mode": "omegaconf+"}
    return kind(
        PolicyModule,
        ReplayDataModule,
        save_config_callback=None,
        trainer_class=L.Trainer,
        trainer_defaults={"num_sanity_val_steps": 0, "enable_model_summary": False, "use_distributed_sampler": False},
        parser_class=FitParser,
        parser_kwargs={
            "prog": "python -m distill",
            "description": "Policy distillation: train teachers, distil them into students, score both.",
            "allow_abbrev": False,
            **command,
            "fit": {
                **command,
                "description": "Train a teacher, or distil one into a student. What can be said of a student, of a "
                "teacher and of their play: --model.help StudentModule, --model.help TeacherModule, --data.help.",
            },
            "validate": {**command, "description": "Score a checkpoint."},
        },
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        args=args,
    )
