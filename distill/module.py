"""What teacher and student share: a network for a game, a block of updates, and the score of its own play.

One class, which Lightning asks for all of it: its hooks share the network, the optimiser's state and what was logged
last, and to divide them would pass these three around.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

import lightning as L
import numpy as np
import torch
from jaxtyping import Float, UInt8
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import CatMetric

from distill import checks
from distill.atari.cartridge import game_name, num_actions
from distill.atari.rules import PAPER_RULES, EnvRules
from distill.cuda import GraphedUpdates, NotRecordable, recordable
from distill.errors import DistillError
from distill.networks import DQN, TRUNKS, Network, build
from distill.schedule import Schedule
from distill.summary import Summary, summarise
from distill.weights.callables import CallableNetwork

WATCHING = ("on_before_backward", "on_after_backward", "on_before_zero_grad", "on_before_optimizer_step")
"""Hooks that may look at gradients."""


@runtime_checkable
class Episodes(Protocol):
    """Episodes of a game that a network can be scored on, see `distill.evaluation.EvalConfig`."""

    @property
    def game(self) -> str:
        """Return the ALE name."""

    def score(self, network: nn.Module, on_step: Callable[[Any], None]) -> np.ndarray:
        """Return the scores of a network; call `on_step` after each step with how far the episodes are."""


class Diverged(DistillError):
    """Learning has led to numbers that mean nothing."""

    code = 1


class PolicyModule(L.LightningModule):
    """A network that plays a game and learns in blocks of updates.

    Subclasses say what a block's minibatches are, what the loss of one is, and which optimiser takes the steps.

    Args:
        game: ALE name, or several.
        network: A preset of `distill.networks`.
        learning_rate: Above 0; or `(hour, value)` points, linear between.
        pretrained: What the network begins with: a weight file or checkpoint of one like it, for the same games, or the
            name of a shipped teacher, or `hf:owner/name`. None means random weights.
        cuda_graphs: Whether a GPU replays updates that it has recorded; see `graphs`.

    Raises:
        ValueError: for an unknown game or network, for no game, for a network of one game where there are several, for
            a learning rate that is not above 0, and for weights of another network.
    """

    def __init__(
        self,
        game: str | list[str],
        network: str,
        learning_rate: float | list[tuple[float, float]],
        pretrained: str | None = None,
        cuda_graphs: bool | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.automatic_optimization = False
        self.learning_rate = Schedule.of(learning_rate)
        checks.above_zero(learning_rate=min(self.learning_rate.values))
        self.games = tuple(map(game_name, [game] if isinstance(game, str) else game))
        actions = {game: num_actions(game) for game in self.games}
        alone = len(actions) == 1 and network not in TRUNKS
        own = self.make_network(actions[self.games[0]]) if actions else None
        if own is not None and len(self.games) > 1:
            raise DistillError(
                f"{type(self).__name__} has a network of its own, which plays one game, not {len(self.games)}"
            )
        self.network: Network | CallableNetwork = (
            build(network, num_actions=actions[self.games[0]] if alone else actions)
            if own is None
            else CallableNetwork(own, self.games[0], actions[self.games[0]])
        )
        if pretrained is not None:
            self._load_pretrained(pretrained)
        self.cuda_graphs = cuda_graphs
        self._graphs: GraphedUpdates | None = None
        self.scores = nn.ModuleDict({game: CatMetric() for game in self.games})
        self.kind = "values"
        """What its outputs are, one of `distill.losses.KINDS`."""
        self.env: dict[str, EnvRules] = {}
        """By game, the rules by which its teacher plays, and so it; none before its run begins."""
        self.summaries: dict[str, Summary] = {}
        """Of the last evaluation, by game."""
        self.scored_updates: int | None = None
        """Updates that had been taken then."""
        self._logged_before: dict[str, float] = {}
        self.on_score: list[Callable[[str, Any], None]] = []
        """Called after each step of episodes that are scored, with who plays and how far they are; see `telling`."""

    def _load_pretrained(self, source: str) -> None:
        from distill.weights.load import load_playing  # which reads other libraries' files, too

        for game in self.games:
            ours, theirs = self.network.for_game(game), load_playing(source, game).network
            try:
                ours.load_state_dict(theirs.state_dict())
            except RuntimeError:
                raise DistillError(
                    f"pretrained {source!r} has {theirs.shape}; here it must have {ours.shape}"
                ) from None

    def forward(self, observations: UInt8[Tensor, "B 4 84 84"], game: str = "") -> Float[Tensor, "B A"]:
        """Map observations of a game to one number per legal action; where there is but one, it need not be named."""
        return self.network(observations, self.games[0] if len(self.games) == 1 else game)

    def make_network(self, num_actions: int) -> nn.Module | None:
        """Return a network of your own; override it to learn with another than those of `distill.networks`.

        Args:
            num_actions: How many numbers, A, it must give for each observation.

        Returns:
            A module that maps uint8 observations `[B, 4, 84, 84]`, grey, oldest frame first, 0 to 255, to `[B, A]`;
            None means the preset. `super().__init__` asks for it: what it needs of your own arguments is to be set
            before.
        """
        return None

    def _optimizer(self) -> LightningOptimizer:
        optimizer = self.optimizers()
        if isinstance(optimizer, list):
            raise DistillError(
                f"configure_optimizers of {type(self).__name__} returns {len(optimizer)} optimisers; an update is one "
                "step of one: return one, with groups of parameters"
            )
        return optimizer

    @property
    def _has_own_optimizer(self) -> bool:
        """Whether a subclass outside this project configures the optimiser: rates and schedulers are then its own."""
        return type(self).configure_optimizers.__module__.partition(".")[0] != "distill"

    def _step_schedulers(self, interval: str, count: int) -> None:
        """Step the schedulers of an interval, `step` or `epoch`, as Lightning does where it takes the updates."""
        for config in self.trainer.lr_scheduler_configs:
            if config.interval == interval and count % config.frequency == 0:
                metric = self.trainer.callback_metrics.get(config.monitor or "") if config.reduce_on_plateau else None
                self.lr_scheduler_step(config.scheduler, metric)

    def _scores(self, game: str) -> CatMetric:
        scores = self.scores[game]
        assert isinstance(scores, CatMetric)  # which a ModuleDict does not know
        return scores

    def play_by(self, env: dict[str, EnvRules]) -> None:
        """Take on the rules of the teachers' play; a network of other actions than theirs gets new weights for them.

        Args:
            env: By game.

        Raises:
            ValueError: for all 18 actions of several games, of a network of one's own, or where weights are given.
        """
        self.env = env
        wanted = {game: len(rules.actions(game)) for game, rules in env.items()}
        differing = [game for game, number in wanted.items() if self.network.for_game(game).num_actions != number]
        if not differing:
            return
        game = differing[0]
        if not isinstance(self.network, DQN) or self.hparams.get("pretrained") is not None:
            raise DistillError(
                f"the teacher of {game} has {wanted[game]} actions, which only a new network of one game gets; "
                "import it with --full_action_set false"
            )
        self.network = self.network.with_actions(wanted[game])

    def check_teachers(self, kinds: dict[str, str]) -> None:
        """Refuse teachers that this module cannot learn from; asked before a run begins.

        Args:
            kinds: By game, `values` or `policy`; see `distill.weights.best.Playing`.
        """

    def setup(self, stage: str) -> None:
        """Have a GPU calculate in float32 where that is the precision, and give the same bits each time."""
        torch.backends.cudnn.allow_tf32 = False  # rounds to 1 in 1,000; at temperature 0.01 that is 1 in 10
        torch.backends.cudnn.deterministic = True

    def graphs(self, optimizer: Optimizer) -> GraphedUpdates | None:
        """Return what records and replays the updates of an optimiser on a GPU; None where none are recorded.

        They are where that is sure to give the same: where loss and network are this project's, or `cuda_graphs` says
        so, and the optimiser is ours; where one GPU learns, in float32 or bf16-mixed, by a fused optimiser; where no
        callback looks at gradients.
        """
        if self._graphs is None or self._graphs.optimizer is not optimizer:
            self._graphs = GraphedUpdates(optimizer, self.loss) if self._may_record(optimizer) else None
        return self._graphs

    def _may_record(self, optimizer: Optimizer) -> bool:
        asked = self.cuda_graphs
        if asked is None:
            ours = type(self).__module__.partition(".")[0] == "distill"
            asked = ours and not isinstance(self.network, CallableNetwork)
        if self._has_own_optimizer:  # whose rates may change with each update, where a graph reads those of the block
            return False
        return asked and self.device.type == "cuda" and self._unwatched() and recordable(optimizer)

    def _unwatched(self) -> bool:
        """Return whether one device learns from losses as they are, and no hook looks at gradients."""
        trainer = self.trainer
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        watched = any(is_overridden(hook, self) for hook in WATCHING) or any(
            is_overridden(hook, one, Callback) for hook in WATCHING for one in callbacks
        )
        return not watched and isinstance(trainer.strategy, SingleDeviceStrategy) and trainer.precision != "16-mixed"

    def loss(self, batch: Any) -> Float[Tensor, " B"]:
        """Return one number per row of a minibatch; override it to learn something else."""
        raise NotImplementedError

    def on_train_batch_start(self, batch: Any, index: int) -> None:
        """Set the learning rate of a block's updates, unless a subclass's own optimiser has its own."""
        if self._has_own_optimizer:
            return
        hour = self.trainer.current_epoch + index / self.trainer.num_training_batches
        for group in self._optimizer().param_groups:
            group["lr"] = self.learning_rate.at(hour)

    def update(self, minibatches: Iterable[Any]) -> Float[Tensor, ""]:
        """Take one optimiser step on each minibatch; Lightning counts them as `global_step`.

        Args:
            minibatches: Whatever `loss` takes.

        Returns:
            The mean loss.

        Raises:
            Diverged: where a loss is infinite or not a number.
        """
        optimizer = self._optimizer()
        graphs = self.graphs(optimizer.optimizer)
        if graphs is not None:
            graphs.set_learning_rates()
            take = functools.partial(self._recorded_step, graphs)
        else:
            # Lightning's backward pass is PyTorch's and, around it, hooks: a thirtieth of a small network's update.
            backward = torch.Tensor.backward if self._unwatched() else self.manual_backward
            take = functools.partial(self._step, backward)
        own, losses = self._has_own_optimizer, []
        for batch in minibatches:
            losses.append(take(optimizer, batch))
            if own:
                self._step_schedulers("step", self.global_step)
        of_all = torch.stack(losses)
        wrong = (~of_all.isfinite()).nonzero().flatten().tolist()
        if wrong:
            number = self.global_step - len(losses) + wrong[0] + 1
            raise Diverged(f"the loss of update {number}, in hour {self.trainer.current_epoch}, is {of_all[wrong[0]]}")
        return of_all.mean()

    def _step(self, backward: Callable[[Tensor], None], optimizer: LightningOptimizer, batch: Any) -> Float[Tensor, ""]:
        # A `training_step` runs under one autocast context, which would keep the weights that it rounded before and use
        # them for this minibatch: those of the last one or, rounded without gradients, none that can learn.
        torch.clear_autocast_cache()
        losses = self.loss(batch)
        if losses.ndim != 1:
            raise DistillError(
                f"the loss of {type(self).__name__} gives shape {list(losses.shape)}; it must give a number for each "
                "row of a minibatch, and leave their mean to us"
            )
        loss = losses.mean()
        optimizer.zero_grad()
        backward(loss)
        optimizer.step()
        return loss.detach()

    def _recorded_step(self, graphs: GraphedUpdates, optimizer: LightningOptimizer, batch: Any) -> Float[Tensor, ""]:
        try:
            return optimizer.step(graphs.closure(batch))
        except NotRecordable as error:
            raise NotRecordable(
                f"the updates of {type(self).__name__} cannot be recorded, so cuda_graphs must be false: {error}"
            ) from error

    @property
    def rules_said(self) -> dict[str, Any]:
        """Return what a file's header says of the rules of play: of several games a list, nothing of the paper's."""
        changed = [self.env.get(game, PAPER_RULES).changed for game in self.games]
        return {"rules": changed if len(changed) > 1 else changed[0]} if any(changed) else {}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what its outputs are, and what was logged last, for callbacks that ask in an hour that is learned."""
        checkpoint["kind"] = self.kind
        checkpoint |= self.rules_said
        checkpoint["logged"] = {name: float(value) for name, value in self.trainer.callback_metrics.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Load what was logged last."""
        self._logged_before = checkpoint.get("logged", {})

    def on_train_epoch_end(self) -> None:
        """Step the schedulers that a subclass has an hour's step for."""
        if self._has_own_optimizer:
            self._step_schedulers("epoch", self.trainer.current_epoch + 1)

    def on_train_start(self) -> None:
        """Show callbacks what was logged last; say whose learning rates hold."""
        if self._has_own_optimizer and self.trainer.is_global_zero:
            named = (inspect.signature(kind).parameters.get("learning_rate") for kind in type(self).__mro__)
            default = next(parameter.default for parameter in named if parameter is not None)
            if self.learning_rate != Schedule.of(default):
                whose = type(self).__name__
                print(
                    f"note: learning_rate is not used: configure_optimizers of {whose} sets its own rates",
                    file=sys.stderr,
                )
        metrics = {name: torch.tensor(value) for name, value in self._logged_before.items()}
        self.trainer.callback_metrics.update(metrics)
        self._logged_before = {}

    def log_block(self, **metrics: Float[Tensor, ""]) -> None:
        """Log what a block brought, at the number of updates taken."""
        for name, value in metrics.items():
            self.log(f"train/{name}", value)
        self.log("step", float(self.global_step))

    def validation_step(self, episodes: Episodes) -> None:
        """Play the episodes of one game and keep their scores."""
        scores = episodes.score(self.network.for_game(episodes.game), self.telling())
        if len(scores):
            self._scores(episodes.game).update(torch.from_numpy(scores).float().to(self.device))

    def telling(self, who: str = "") -> Callable[[Any], None]:
        """Return what tells all listeners of `on_score` how far episodes are, a `distill.evaluation.Progress`.

        Args:
            who: Plays them, where it is not this module.
        """

        def tell(progress: Any) -> None:
            for listener in self.on_score:
                listener(who, progress)

        return tell

    def on_validation_epoch_end(self) -> None:
        """Log each game's mean score of all ranks' episodes, and its interval."""
        self.scored_updates = self.global_step
        for game in self.games:
            self.summaries[game] = summary = summarise(self._scores(game).compute().cpu().numpy().reshape(-1))
            self._scores(game).reset()
            low, high = summary.interval95
            found = {"score": summary.mean, "score_low": low, "score_high": high, "episodes": float(summary.episodes)}
            for name, value in found.items():
                self.log(self.metric("val", game, name), value, sync_dist=True)
        self.log("step", float(self.global_step), sync_dist=True)

    def metric(self, kind: str, game: str, name: str) -> str:
        """Name a metric of a game: `val/score`, or `val/pong/score` where there are several."""
        return f"{kind}/{name}" if len(self.games) == 1 else f"{kind}/{game}/{name}"
