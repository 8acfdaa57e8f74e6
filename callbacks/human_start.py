"""`HumanStartEvaluation`: the paper's evaluation, from starts that a person reached, while a student learns."""

from contextlib import closing

import lightning as L
import numpy as np
import torch
from torchmetrics import MeanMetric

from distill import checks, protocol
from distill.atari.replayed import ReplayedAtari
from distill.atari.starts import Starts
from distill.data import ReplayDataModule
from distill.evaluation import EvalConfig
from distill.module import PolicyModule
from distill.networks import DQN
from distill.weights.callables import CallableNetwork


class HumanStartEvaluation(L.Callback):
    """Scores the trained network from recorded starts, and each teacher once; changes nothing of what is learned.

    Logs `val/human_start_score`, the mean score since the hand-over, and, where there is a teacher,
    `val/human_start_ratio`, that score as a share of the teacher's from the same starts; not a number where the
    teacher's is 0 or less. Starts are dealt out to the ranks.

    Args:
        starts: A file that `import-starts` or `draw-starts` wrote.
        every_hours: Simulated hours between two evaluations, 1 or more; the run's last hour always ends in one.
        epsilon: Probability of a random action, 0 to 1; the paper's is 0.05.
        max_frames: Longest episode in frames, those before the start included.

    Raises:
        ValueError: for a file that is damaged or of another game, and for values out of their range.
    """

    def __init__(
        self,
        starts: str,
        every_hours: int = 1,
        epsilon: float = protocol.EPSILON,
        max_frames: int = protocol.MAX_FRAMES,
    ) -> None:
        checks.at_least(1, every_hours=every_hours)
        checks.between(1, protocol.MOST_FRAMES, max_frames=max_frames)
        checks.between(0, 1, epsilon=epsilon)
        self.starts = Starts.load(starts)
        self.every_hours = every_hours
        self.epsilon = epsilon
        self.max_frames = max_frames
        self._teacher: tuple[DQN | CallableNetwork, float] | None = None  # and its score
        self._unscored = False

    def check_run(self, model: PolicyModule) -> None:
        """Refuse starts of another game, or that lead elsewhere; the command line asks before the run begins."""
        self.starts.check_game(*model.games)
        with closing(ReplayedAtari(self.starts, range(len(self.starts.starts)), max_frames=self.max_frames)) as games:
            games.rebuild(np.zeros(games.num_envs, np.int64), [np.zeros(0, np.int64)] * games.num_envs)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Score the network, if an evaluation is due."""
        hours = trainer.current_epoch + 1
        self._unscored = bool(hours % self.every_hours and hours != trainer.max_epochs)
        if not self._unscored:
            for name, value in self._measure(trainer, pl_module).items():
                pl_module.log(name, value)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Score the network, if something else than its hours has ended the run."""
        if self._unscored:
            found = self._measure(trainer, pl_module)
            for logger in trainer.loggers:
                logger.log_metrics(found, step=trainer.global_step)

    def _measure(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, float]:
        assert isinstance(pl_module, PolicyModule)
        game = self.starts.game
        score = self.score(pl_module.network.for_game(game), trainer, pl_module.device)
        found = {pl_module.metric("val", game, "human_start_score"): score}
        data = ReplayDataModule.of(trainer)
        teacher = data.teachers[game].network if game in data.teachers else None
        if teacher is not None:
            if self._teacher is None or self._teacher[0] is not teacher:
                self._teacher = teacher, self.score(teacher, trainer, pl_module.device)
            teachers = self._teacher[1]
            ratio = score / teachers if teachers > 0 else float("nan")
            found[pl_module.metric("val", game, "human_start_ratio")] = ratio
        return found

    def score(self, network: DQN | CallableNetwork, trainer: L.Trainer, device: torch.device) -> float:
        """Play from this rank's share of the starts; give the mean score of all ranks' episodes."""
        numbers = tuple(range(trainer.global_rank, len(self.starts.starts), trainer.world_size))
        data, game = ReplayDataModule.of(trainer), self.starts.game
        env = data.env_of(game)._replace(sticky=0.0)  # or the starts' replay would lead elsewhere
        rules = EvalConfig(game, numbers, data.seed, self.epsilon, self.max_frames, env)
        mean = MeanMetric().to(device)
        if numbers:
            mean.update(torch.from_numpy(rules._replace(starts=self.starts).score(network)).float())
        return float(mean.compute())
