"""`ReplayDataModule`: each simulated hour refills the memory from the teacher, then yields blocks of minibatches.

One class: half of the file says what its options are and which values they take; what they set in motion is elsewhere.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from distill import checks, protocol
from distill.atari.environments import usable_cores
from distill.atari.rules import PAPER_RULES, EnvRules
from distill.engine import module_policy
from distill.errors import DistillError
from distill.evaluation import EvalConfig
from distill.files.store import Store
from distill.hours.dataset_play import DatasetPlay, RecordedTeacher, is_dataset
from distill.hours.experience import (
    Experience,
    Interleaving,
    TeacherSource,
    memory_length,
    room_for_frames,
    sources_of,
    turns,
)
from distill.hours.hour import FORMAT, check_format
from distill.hours.live_play import LivePlay
from distill.hours.teacher_play import TeacherPlay, divide_cores
from distill.module import PolicyModule
from distill.randomness import generator
from distill.replay import Block, Minibatch, Transitions
from distill.rollout import PlayConfig
from distill.schedule import Schedule
from distill.weights.callables import Combination, Teacher

FORESEEN = 1_000
"""Refills ahead for which the store is asked; those after them count as not found."""
Learned = Block[Minibatch] | Block[Transitions]
"""What one `training_step` learns: from a teacher, or from own play."""


class ReplayDataModule(L.LightningDataModule):
    """Play and memory of one game, or of several.

    An epoch is a simulated hour. In each, a teacher plays `hour_steps` steps into the memory of its game and the
    student then takes `updates_per_hour` updates; see `overlap` for when the next is played. The teacher's hours are
    files: an hour that is found in the store is not played. Without a teacher the trained module plays itself, and
    `refills_per_hour` says in how many pieces play and updates alternate. Environments live on from refill to refill.

    With several games, each has a memory of its own and they take turns: an hour of play is of one game, or, where the
    trained module plays itself, a piece of an hour is. See `interleave` for whose minibatches are learned.

    Args:
        game: ALE name; or several, each with its teacher: `{pong: pong, qbert: my/qbert.safetensors}`, or null where
            the trained module plays itself.
        teacher: Of one game: a shipped teacher's name; a weight file, of this project or of a library that
            `distill.weights.foreign` knows, here or as `hf:owner/name` on the Hugging Face hub; or the folder of a
            teacher's run that keeps its best networks, of which this is the first. From Python also a module or
            function that maps uint8 observations `[N, 4, 84, 84]` to a number for each legal action, see
            `distill.weights.callables`: its value or, where the attribute `kind` is `policy`, its logit. Or a dataset
            that `export-hours` wrote, its folder or `minari:ID`: then nobody plays, its hours are taken in their order,
            and there is no teacher to be scored. A list of several, of names or files, teaches as one. None lets the
            trained module play.
        teacher_weights: Of several teachers, one for each, 0 or more; None weighs all alike.
        combine: How several teachers teach: `mixture`, the weighted mean of their policies, values being divided by
            0.01; or `vote`, by the weights of those whose greedy action it is. See `distill.weights.ensembles`.
        seed: The run's seed, 0 or more.
        hour_steps: Steps an hour over all environments; a multiple of `num_envs` times `refills_per_hour`.
        updates_per_hour: Updates an hour; a multiple of `block_updates`.
        memory_hours: Hours that the memory holds, above 0.
        refills_per_hour: Pieces in which an hour is played, 1 or more; the blocks of an hour are dealt out evenly.
            With a teacher 1.
        warmup_steps: Steps that are played before the first refill; a multiple of `num_envs`. With a teacher 0.
        batch_size: Rows of a minibatch.
        block_updates: Updates of one `training_step`.
        interleave: With several games: `minibatch` draws the game of each minibatch at random, all alike (appendix A of
            the paper); `episode` goes from game to game in turn, each for as many updates as belong to the steps of
            one of its episodes (section 3.3). A game takes part once it has been played.
        n_steps: Steps that a learning teacher's targets look ahead, 1 or more.
        num_envs: Environments played side by side.
        num_threads: Threads of play, for the environments and for the teacher's network on the CPU. 0 means all usable
            cores where play and learning take turns, else all that learning leaves, which are half of them.
        epsilon: Probability of a random action in play, 0 to 1; or `[hour, probability]` points, between which it
            changes linearly, in hours of each game's own play.
        beta: Share of the episodes in which the teacher acts, 0 to 1 (the paper's is 1); or `[hour, share]` points. In
            the others the student does (Ross et al. 2011), as it is when the hour begins, and the labels are still the
            teacher's. Below 1, hours are not played ahead and hardly ever shared.
        lmbda: The student's share instead, `1 - beta`, by the name that others give it (Agarwal et al. 2024); or
            `[hour, share]` points. `beta` is then left at 1. None means that `beta` says it.
        max_frames: Longest episode in frames, in play and in evaluation.
        eval_episodes: Episodes that `validate` scores, 1 or more.
        eval_epsilon: Probability of a random action in them, 0 to 1.
        store: Folder of the teacher's hours, which any number of runs may share; None means the run's own.
        store_limit_gb: Room for them in 10^9 bytes, above 0; beyond it the hours that were not used for the longest
            time go, but none that is in a run's memory. None means no limit.
        overlap: Whether the teacher plays the next hour while the student learns from this one. The outcome is the
            same. None means wherever a GPU learns, or four cores or more are usable: on two, taking turns on both is as
            fast for the smallest student (70 s an hour, against 67) and faster for the full one (180 s, against 250).

    Raises:
        ValueError: for a value out of its range, and as `distill.weights.load.load_playing`.
    """

    def __init__(
        self,
        game: str | dict[str, Any],  # `TeacherSource`, among which a config's writer would take null for a function
        teacher: TeacherSource = None,
        teacher_weights: list[float] | None = None,
        combine: Combination = "mixture",
        seed: int = 0,
        hour_steps: int = protocol.STEPS_PER_HOUR,
        updates_per_hour: int = protocol.UPDATES_PER_HOUR,
        memory_hours: float = protocol.MEMORY_HOURS,
        refills_per_hour: int = 1,
        warmup_steps: int = 0,
        batch_size: int = 32,
        block_updates: int = 50,
        interleave: Interleaving = "minibatch",
        n_steps: int = 1,
        num_envs: int = 30,
        num_threads: int = 0,
        epsilon: float | list[tuple[float, float]] = protocol.EPSILON,
        beta: float | list[tuple[float, float]] = 1.0,
        lmbda: float | list[tuple[float, float]] | None = None,
        max_frames: int = protocol.MAX_FRAMES,
        eval_episodes: int = protocol.EVAL_EPISODES,
        eval_epsilon: float = protocol.EPSILON,
        store: str | None = None,
        store_limit_gb: float | None = None,
        overlap: bool | None = None,
    ) -> None:
        super().__init__()
        sources = sources_of(game, teacher)
        self.games = tuple(sources)
        self.seed = seed
        self.hour_steps = hour_steps
        self.updates_per_hour = updates_per_hour
        self.memory_hours = memory_hours
        self.refills_per_hour = refills_per_hour
        self.warmup_steps = warmup_steps
        self.batch_size = batch_size
        self.block_updates = block_updates
        self.interleave = interleave
        self.n_steps = n_steps
        self.num_envs = num_envs
        self.num_threads = num_threads
        self.epsilon, self.beta = Schedule.of(epsilon), Schedule.of(beta)
        self.lmbda = None if lmbda is None else Schedule.of(lmbda)
        self.max_frames = max_frames
        self.eval_episodes = eval_episodes
        self.eval_epsilon = eval_epsilon
        self.store = store
        self.store_limit_gb = store_limit_gb
        self.overlap = overlap
        self._check_options(taught=any(source is not None for source in sources.values()))
        self.teachers = teachers_of(sources, teacher_weights, combine)
        """By game; empty where the trained module plays itself."""
        self._check_datasets()
        self.experiences: dict[str, Experience] = {}
        """By game, during a fit."""
        self.on_play: list[Callable[[int, int], None]] = []
        """Called now and then while nothing is learned, with the steps played of a refill, and the refill's steps."""
        self._threads_before: int | None = None

    def _check_options(self, *, taught: bool) -> None:
        checks.at_least(
            1,
            hour_steps=self.hour_steps,
            updates_per_hour=self.updates_per_hour,
            refills_per_hour=self.refills_per_hour,
            batch_size=self.batch_size,
            block_updates=self.block_updates,
            n_steps=self.n_steps,
            num_envs=self.num_envs,
            eval_episodes=self.eval_episodes,
        )
        checks.between(1, protocol.MOST_FRAMES, max_frames=self.max_frames)
        checks.at_least(0, seed=self.seed, warmup_steps=self.warmup_steps, num_threads=self.num_threads)
        for name, schedule in (("epsilon", self.epsilon), ("beta", self.beta), ("lmbda", self.lmbda)):
            for value in schedule.values if schedule else ():
                checks.between(0, 1, **{name: value})
        if self.lmbda:
            self._take_lmbda(self.lmbda)
        checks.between(0, 1, eval_epsilon=self.eval_epsilon)
        checks.above_zero(" (the paper's is 10)", memory_hours=self.memory_hours)
        if self.store_limit_gb is not None:
            checks.above_zero(", or null for no limit", store_limit_gb=self.store_limit_gb)
        if taught and (self.refills_per_hour, self.warmup_steps) != (1, 0):
            raise DistillError(
                f"refills_per_hour is {self.refills_per_hour} and warmup_steps is {self.warmup_steps}; with a teacher, "
                "whose play does not depend on what is learned, they must be 1 and 0"
            )
        if not taught:
            self._check_nobody_acts("without a teacher there is nobody to take turns with")
        unit = self.num_envs * self.refills_per_hour
        checks.multiple("hour_steps", self.hour_steps, "num_envs x refills_per_hour", unit)
        checks.multiple("updates_per_hour", self.updates_per_hour, "block_updates", self.block_updates)
        checks.multiple("blocks of an hour", self.blocks_per_hour, "refills_per_hour", self.refills_per_hour)
        checks.multiple("warmup_steps", self.warmup_steps, "num_envs", self.num_envs)
        played = self.warmup_steps + self.hour_steps // self.refills_per_hour
        least = min(played, int(self.memory_hours * self.hour_steps)) // self.num_envs
        ahead = 0 if taught else self.n_steps
        if least <= ahead:
            raise DistillError(
                f"the first refill leaves {least} steps of each environment in the memory; it must be above "
                f"{ahead}, by warmup_steps, hour_steps or memory_hours"
            )

    def _take_lmbda(self, lmbda: Schedule) -> None:
        """Have the student's share say the teacher's."""
        if min(self.beta.values) < 1:
            raise DistillError(
                "beta and lmbda are both given, and say the same, as lmbda is 1 - beta; beta must be 1, or lmbda null"
            )
        self.beta = Schedule(lmbda.hours, tuple(round(1 - share, 12) for share in lmbda.values))

    def _check_nobody_acts(self, why: str) -> None:
        """Refuse a share of the student's."""
        if min(self.beta.values) < 1:
            said, must = ("lmbda is above 0", 0) if self.lmbda else ("beta is below 1", 1)
            raise DistillError(f"{said}, but {why}; it must be {must}")

    @property
    def _recorded(self) -> dict[str, RecordedTeacher]:
        return {game: one for game, one in self.teachers.items() if isinstance(one, RecordedTeacher)}

    def _check_datasets(self) -> None:
        for recorded in self._recorded.values():
            if self.num_envs != recorded.num_envs:
                raise DistillError(
                    f"num_envs is {self.num_envs}; the dataset {recorded.name} was played in {recorded.num_envs} "
                    f"environments, so it must be {recorded.num_envs}"
                )
            self._check_nobody_acts(f"nobody plays where the dataset {recorded.name} is learned from")

    def check_hours(self, hours: int | None) -> None:
        """Refuse a run of more hours than its datasets hold.

        Args:
            hours: Of the run; None or -1 means no end.

        Raises:
            ValueError: naming how many there are.
        """
        for game, recorded in self._recorded.items():
            there = recorded.length * recorded.num_envs // self.hour_steps
            place = self.games.index(game)
            if hours is None or hours < 0 or self._pieces(place, hours) > there:
                most = there * len(self.games) + place
                raise DistillError(
                    f"max_epochs is {hours}, but the dataset {recorded.name} holds {there} hours of {self.hour_steps} "
                    f"steps; it must be {most} or less, or hour_steps smaller"
                )

    @property
    def teacher_kinds(self) -> dict[str, str]:
        """Return each teacher's kind, one of `distill.losses.KINDS`, by game."""
        return {game: teacher.kind for game, teacher in self.teachers.items()}

    @property
    def blocks_per_hour(self) -> int:
        """Count the blocks of an hour."""
        return self.updates_per_hour // self.block_updates

    @staticmethod
    def of(trainer: L.Trainer) -> "ReplayDataModule":
        """Return the data module of a Trainer."""
        data = getattr(trainer, "datamodule", None)  # an attribute that Lightning sets, but does not declare
        assert isinstance(data, ReplayDataModule)
        return data

    @property
    def _fit_trainer(self) -> L.Trainer:
        assert self.trainer is not None, "only a Trainer sets up this module, and plays by it"
        return self.trainer

    @property
    def _player(self) -> PolicyModule:
        """Return the module that is trained."""
        module = self._fit_trainer.lightning_module
        assert isinstance(module, PolicyModule)
        return module

    def setup(self, stage: str) -> None:
        """Begin with empty memories."""
        if stage != "fit":
            return
        trainer, player = self._fit_trainer, self._player
        player.check_teachers(self.teacher_kinds)
        self.check_hours(trainer.max_epochs)
        device, memory_hours, epochs = trainer.strategy.root_device, self.memory_hours, trainer.max_epochs or -1
        if self.teachers and epochs > 0:
            memory_hours = min(memory_hours, math.ceil(epochs / len(self.games)))  # no more than there will be
        options = self.seed, self._rank, self.num_envs, self.hour_steps, self.epsilon, self.max_frames, self.beta
        rules = [PlayConfig(game, *options, self.env_of(game)) for game in self.games]
        player.play_by(self.env)
        room = room_for_frames(rules, memory_hours, device)
        if device.type == "cuda" and self._rank == 0:
            print(f"memory: frames {f'as they are, on {room}' if room else f'packed, for want of room on {device}'}")
        source_of = self._taught_play if self.teachers else self._live_play
        for each in rules:
            self.experiences[each.game] = Experience(each, memory_hours, source_of(each, memory_hours), room)

    def _taught_play(self, rules: PlayConfig, memory_hours: float) -> TeacherPlay | DatasetPlay:
        trainer, game = self._fit_trainer, rules.game
        device = trainer.strategy.root_device
        division = divide_cores(usable_cores(), on_gpu=device.type != "cpu", overlap=self.overlap)
        if self._threads_before is None:
            self._threads_before = torch.get_num_threads()
            torch.set_num_threads(min(self._threads_before, division.learn_threads))
        teacher = self.teachers[game]
        if isinstance(teacher, RecordedTeacher):
            return DatasetPlay(rules, teacher, memory_hours=memory_hours)
        return TeacherPlay(
            rules,
            teacher.network.to(device),
            Store(Path(self.store or Path(trainer.default_root_dir) / "hours"), self.store_limit_gb),
            memory_hours=memory_hours,
            overlap=division.overlap,
            num_threads=self.num_threads or division.play_threads,
            student=self._player.network.for_game(game) if min(self.beta.values) < 1 else None,
        )

    def _live_play(self, rules: PlayConfig, memory_hours: float) -> LivePlay:
        trainer = self._fit_trainer
        network = module_policy(self._player.network.for_game(rules.game), dtype=None)

        def policy(observations: np.ndarray) -> np.ndarray:
            with trainer.precision_plugin.forward_context():
                return network(observations)

        kept = trainer.checkpoint_callback is not None  # else nothing would ever go on from these files
        return LivePlay(
            rules,
            policy,
            Path(trainer.default_root_dir) / "play" if kept else None,
            piece_steps=self.hour_steps // self.refills_per_hour,
            warmup_steps=self.warmup_steps,
            memory_length=memory_length(rules, memory_hours),
            num_threads=self.num_threads or usable_cores(),
        )

    def teardown(self, stage: str) -> None:
        """Stop playing."""
        self._end(failed=False)

    def on_exception(self, exception: BaseException) -> None:
        """Stop playing."""
        self._end(failed=True)

    def _end(self, *, failed: bool) -> None:
        for experience in self.experiences.values():
            experience.source.close(failed=failed)
        if self._threads_before is not None:
            torch.set_num_threads(self._threads_before)
        self._threads_before = None

    def state_dict(self) -> dict[str, Any]:
        """Keep what it takes to find again the hours that depend on what was learned."""
        states = {game: experience.source.state_dict() for game, experience in self.experiences.items()}
        return {"format": FORMAT, **states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` returned, where a run resumes."""
        for game, experience in self.experiences.items():
            check_format("this checkpoint", state_dict.get("format"))
            experience.source.load_state_dict(state_dict[game])

    def train_dataloader(self) -> DataLoader[Learned]:
        """Yield an hour's blocks; the memory is refilled as they are asked for."""
        return DataLoader(_Hour(self), batch_size=None)

    def val_dataloader(self) -> DataLoader[EvalConfig]:
        """Yield this rank's share of the evaluation's episodes."""
        numbers = range(self._rank, self.eval_episodes, self.trainer.world_size if self.trainer else 1)
        rules = [self.eval_config(game, numbers) for game in self.games]
        return DataLoader(rules, batch_size=None)  # type: ignore[arg-type]  # a list will do, but is no `Dataset`

    @property
    def env(self) -> dict[str, EnvRules]:
        """Return the rules of play by game."""
        return {game: self.env_of(game) for game in self.games}

    def env_of(self, game: str) -> EnvRules:
        """Return the rules by which a game's teacher plays, and so its student; the paper's where there is none."""
        return self.teachers[game].env if game in self.teachers else PAPER_RULES

    def eval_config(self, game: str, numbers: range | None = None) -> EvalConfig:
        """Return which episodes of a game are scored, and how."""
        which = tuple(range(self.eval_episodes) if numbers is None else numbers)
        return EvalConfig(game, which, self.seed, self.eval_epsilon, self.max_frames, self.env_of(game))

    def hour(self, hour: int, learned_blocks: int = 0) -> Iterator[Learned]:
        """Play and yield one hour.

        Args:
            hour: Its number, from 0.
            learned_blocks: Where a run goes on within the hour, the blocks that it had learned; what was drawn for them
                is drawn again, without being looked up.
        """
        if learned_blocks == self.blocks_per_hour:
            return
        rngs = {game: generator(self.seed, "minibatch", game, self._rank, hour) for game in self.games}
        updates_per_step = self.updates_per_hour / self.hour_steps
        memories = {game: experience.memory for game, experience in self.experiences.items()}
        ahead = 0 if self.teachers else self.n_steps  # of the steps that rows look at, beyond their own
        whose = turns(memories, self.interleave, generator(self.seed, "turn", hour), updates_per_step, hour)
        blocks_per_refill = self.blocks_per_hour // self.refills_per_hour
        for block in range(self.blocks_per_hour):
            if block % blocks_per_refill == 0:
                number = hour * self.refills_per_hour + block // blocks_per_refill
                self.refill(number, resuming_mid_hour=learned_blocks > 0)
            games = tuple(itertools.islice(whose, self.block_updates))
            rows = {game: games.count(game) * self.batch_size for game in sorted(set(games))}
            if block < learned_blocks:
                for game, count in rows.items():
                    memories[game].skip(rngs[game], count, ahead)
                continue
            # For networks that draw, as one with dropout does.
            seed = generator(self.seed, "torch", self._rank, hour, block).integers(2**63)
            _seed_torch(int(seed), self._fit_trainer.strategy.root_device)
            drawn: dict[str, Any] = {
                game: memories[game].transitions(rngs[game], count, ahead)
                if ahead
                else memories[game].minibatch(rngs[game], count)
                for game, count in rows.items()
            }
            yield Block(drawn, games, self.batch_size)

    def unplayed_refills(self, first: int, end: int) -> int:
        """Count the refills, of those with these numbers, that are not found in a store.

        Not to be asked for the first time of a number while another thread plays.
        """
        sources = [experience.source for experience in self.experiences.values()]
        seen = min(end, first + FORESEEN)
        stored = sum(sources[number % len(sources)].is_stored(number // len(sources)) for number in range(first, seen))
        return max(0, end - first) - stored

    def refill(self, number: int, *, resuming_mid_hour: bool = False) -> None:
        """Add an hour of a teacher's play, or a piece of an hour of the trained module's, to the memory of a game.

        Where a run goes on, what was played before and belongs in the memories comes first.

        Args:
            number: Of the refill, counted from the run's beginning, from 0; the games take turns.
            resuming_mid_hour: Whether a run goes on within the hour, part of which was played before.
        """
        for place, experience in enumerate(self.experiences.values()):
            experience.source.begin_refill(
                self._pieces(place, number + 1),
                played=self._pieces(place, number),
                new_hour=number % self.refills_per_hour == 0,
                resuming_mid_hour=resuming_mid_hour,
            )
        for experience in self.experiences.values():
            experience.refill(self._tell)
        if number + 1 != self._fit_trainer.max_epochs:
            turn, place = divmod(number + 1, len(self.games))
            self.experiences[self.games[place]].source.play_ahead(turn)

    def _pieces(self, place: int, refills: int) -> int:
        """Count the pieces of a game that a number of refills have brought."""
        return max(0, refills - place + len(self.games) - 1) // len(self.games)

    def checkpoint_is_written(self) -> None:
        """Remove what neither the last of a run's checkpoints nor the one before needs of the play of a module."""
        for experience in self.experiences.values():
            experience.source.checkpoint_is_written()

    def change_teacher(self, hour: int, teacher: Teacher, *, forget: bool) -> None:
        """Have another teacher play the only game from an hour on; perhaps forget what was before."""
        (game,) = self.games
        source = self.experiences[game].source
        assert isinstance(source, TeacherPlay), "there is a teacher"
        self.teachers[game] = teacher
        source.change_teacher(hour, teacher.network.to(self._fit_trainer.strategy.root_device), forget=forget)

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    def _tell(self, done: int, steps: int) -> None:
        for listener in self.on_play:
            listener(done, steps)


def teachers_of(
    sources: dict[str, TeacherSource], weights: Sequence[float] | None, combine: Combination
) -> dict[str, Teacher | RecordedTeacher]:
    """Load each game's teacher, where it has one; see `load_playing`, `load_ensemble` and `RecordedTeacher`."""
    from distill.weights.ensembles import load_ensemble
    from distill.weights.load import load_playing  # which reads other libraries' files, too

    def load(source: Any, game: str) -> Teacher | RecordedTeacher:
        if isinstance(source, list):
            return load_ensemble(source, weights, combine, game)
        return RecordedTeacher(source, game) if is_dataset(source) else load_playing(source, game)

    if weights is not None and not any(isinstance(source, list) for source in sources.values()):
        raise DistillError(f"teacher_weights are {list(weights)}, but teacher is no list; give several, or null")
    return {game: load(source, game) for game, source in sources.items() if source is not None}


class _Hour(IterableDataset[Learned]):
    """The blocks of the Trainer's present epoch."""

    def __init__(self, data: ReplayDataModule) -> None:
        self.data = data

    def __len__(self) -> int:
        return self.data.blocks_per_hour

    def __iter__(self) -> Iterator[Learned]:
        # A generator, which asks for epoch and block when its first block is wanted: where a run goes on, Lightning
        # makes the iterator while it still counts the last epoch of the checkpoint as not completed.
        trainer = self.data._fit_trainer
        learned_blocks = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        yield from self.data.hour(trainer.current_epoch, learned_blocks)


def _seed_torch(seed: int, device: torch.device) -> None:
    """Seed PyTorch's generators of the CPU and of a device, without looking for devices of other kinds."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)
