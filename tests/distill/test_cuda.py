"""What only a GPU does: updates that are recorded and replayed, and frames that lie where they are learned from."""

import lightning as L
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from distill.cuda import GraphedUpdates, NotRecordable
from distill.data import ReplayDataModule
from distill.losses import kl_loss
from distill.replay import Minibatch
from distill.runs.checkpoints import Checkpoints
from distill.runs.signals import Signals
from distill.student import LOSSES, StudentModule
from distill.teacher import TeacherModule

pytestmark = pytest.mark.gpu

HOUR = {"hour_steps": 1200, "num_envs": 30, "updates_per_hour": 100, "block_updates": 10, "memory_hours": 2}


def learn(module, data, hours=2, precision="32-true", folder=None, callbacks=(), ckpt_path=None):
    """Learn on a GPU and give the module, whose weights are back on the CPU."""
    trainer = L.Trainer(
        accelerator="gpu",
        devices=1,
        max_epochs=hours,
        precision=precision,
        default_root_dir=folder,
        callbacks=list(callbacks),
        limit_val_batches=0,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=bool(callbacks),
        logger=False,
    )
    trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=None if ckpt_path is None else True)
    assert trainer.global_step == hours * HOUR["updates_per_hour"]
    return module.cpu()


def student(kind=StudentModule, game="pong", network="net3", **options):
    torch.manual_seed(0)
    return kind(game, network, **options)


def play(teacher, folder, **options):
    return ReplayDataModule("pong", teacher, store=str(folder / "hours"), **HOUR, **options)


def difference(one, other):
    """The largest difference of weights, as a share of how far those of the first have moved from the beginning."""
    begin = student(type(one), one.games[0] if len(one.games) == 1 else list(one.games), one.hparams.network)
    moved = max((a - b).abs().max().item() for a, b in zip(one.parameters(), begin.parameters(), strict=True))
    apart = max((a - b).abs().max().item() for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert moved > 0
    return apart / moved


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_replayed_updates_are_those_that_were_recorded(tmp_path, make_teacher, precision):
    """A student whose updates are replayed learns what one learns whose kernels are asked for one by one."""
    teacher = make_teacher("pong")
    replayed = learn(student(), play(teacher, tmp_path), precision=precision)
    assert replayed._graphs is not None
    asked = learn(student(cuda_graphs=False), play(teacher, tmp_path), precision=precision)
    assert asked._graphs is None
    assert difference(replayed, asked) < (1e-3 if precision == "32-true" else 0.05)


@pytest.mark.parametrize("loss_name", LOSSES)
def test_each_loss_can_be_recorded(loss_name):
    """Ten updates, of which the last seven are replayed, lose what ten do whose kernels are asked for one by one."""
    generator = torch.Generator().manual_seed(0)
    observations = torch.randint(0, 256, (32, 4, 84, 84), dtype=torch.uint8, generator=generator).cuda()
    batch = Minibatch(observations, torch.randn(32, 6, generator=generator).cuda())
    replayed, asked = (student(loss_name=loss_name, temperature=1.0).cuda() for _ in range(2))
    optimizer, plain = replayed.configure_optimizers(), asked.configure_optimizers()
    updates = GraphedUpdates(optimizer, replayed.loss)
    updates.set_learning_rates()
    for _ in range(10):
        expected = asked.loss(batch).mean()
        plain.zero_grad()
        expected.backward()
        plain.step()
        assert_close(optimizer.step(updates.closure(batch)), expected.detach(), rtol=1e-3, atol=1e-5)
    assert updates._recorded


def test_replayed_updates_follow_the_learning_rate(tmp_path, make_teacher):
    """A rate that falls to almost nothing after an hour leaves the weights of that hour as they are."""
    teacher = make_teacher("pong")
    hour = learn(student(learning_rate=5e-4), play(teacher, tmp_path), hours=1)
    falling = [(0.0, 5e-4), (0.999, 5e-4), (1.0, 1e-12), (2.0, 1e-12)]
    two = learn(student(learning_rate=falling), play(teacher, tmp_path))
    assert two._graphs is not None
    assert difference(hour, two) < 0.02


def test_a_run_on_a_gpu_gives_the_same_bits_again_overlapped_or_not_and_resumed(tmp_path, make_teacher):
    """Twice the same run, without overlap, or broken off after an hour: equal weights."""
    teacher = make_teacher("pong")
    whole = learn(student(), play(teacher, tmp_path))
    for data in (play(teacher, tmp_path / "again"), play(teacher, tmp_path / "turns", overlap=False)):
        again = learn(student(), data)
        assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
    with Signals() as signals:
        checkpoints = Checkpoints(tmp_path / "checkpoints", signals)
        learn(student(), play(teacher, tmp_path), hours=1, folder=tmp_path, callbacks=[checkpoints])
        last, checkpoints = str(tmp_path / "checkpoints" / "last.ckpt"), Checkpoints(tmp_path / "checkpoints", signals)
        resumed = learn(student(), play(teacher, tmp_path), folder=tmp_path, callbacks=[checkpoints], ckpt_path=last)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_a_learning_teacher_replays_too(tmp_path):
    """A teacher that learns from one hour of its own random play learns the same either way."""
    options = {**HOUR, "warmup_steps": 0, "n_steps": 3, "epsilon": 1.0}
    ways = []
    for graphs in (None, False):
        torch.manual_seed(0)
        teacher = TeacherModule("pong", "net3", optimizer="adam", target_updates=40, cuda_graphs=graphs)
        ways.append(learn(teacher, ReplayDataModule("pong", **options), hours=1))
    assert ways[0]._graphs is not None
    for one, other in zip(ways[0].network.parameters(), ways[1].network.parameters(), strict=True):
        assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_several_games_are_recorded_each(tmp_path, make_teacher):
    """A network for two games learns the same either way."""
    teachers = {game: make_teacher(game) for game in ("freeway", "pong")}
    ways = []
    for graphs in (None, False):
        data = ReplayDataModule(teachers, store=str(tmp_path / "hours"), **HOUR)
        ways.append(learn(student(game=list(teachers), network="multi3", cuda_graphs=graphs), data, hours=3))
    assert len(ways[0]._graphs._recorded) == 2
    assert difference(*ways) < 1e-2


def test_what_was_recorded_outlives_another_run(tmp_path, make_teacher):
    """A Trainer that ends takes no memory with it that a graph still uses."""
    learner = student().cuda()
    optimizer = learner.configure_optimizers()
    updates = GraphedUpdates(optimizer, learner.loss)
    updates.set_learning_rates()
    observations = torch.randint(0, 256, (32, 4, 84, 84), dtype=torch.uint8, device="cuda")
    batch = Minibatch(observations, torch.randn(32, 6, device="cuda"))
    before = [optimizer.step(updates.closure(batch)).item() for _ in range(10)]
    learn(student(), play(make_teacher("pong"), tmp_path), hours=1)
    after = [optimizer.step(updates.closure(batch)).item() for _ in range(100)]
    assert after[-1] < after[0] < before[0]


class Growing(StudentModule):
    """Its loss counts how often it was asked."""

    asked = 0

    def loss(self, batch):
        self.asked += 1
        return self.asked * kl_loss(self(batch.observations), batch.labels, temperature=0.01)


def test_a_loss_of_ones_own_is_recorded_only_where_asked(tmp_path, make_teacher):
    """What it takes from Python may change from update to update."""
    teacher = make_teacher("pong")
    own = learn(student(Growing), play(teacher, tmp_path), hours=1)
    assert own._graphs is None
    assert own.asked == HOUR["updates_per_hour"]
    recorded = learn(student(Growing, cuda_graphs=True), play(teacher, tmp_path), hours=1)
    assert recorded._graphs is not None
    assert recorded.asked < 10


class Dropping(StudentModule):
    """Draws random numbers as it learns."""

    def make_network(self, num_actions):
        return nn.Sequential(nn.Flatten(), Scaled(), nn.Dropout(), nn.Linear(4 * 84 * 84, num_actions))


class Scaled(nn.Module):
    def forward(self, x):
        return x.float() / 255


def test_a_replayed_network_draws_new_numbers(tmp_path, make_teacher):
    """Dropout in a recorded update is another one in each, and the same again in the same run."""
    teacher = make_teacher("pong")
    one, other = (learn(student(Dropping, cuda_graphs=True), play(teacher, tmp_path), hours=1) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    asked = learn(student(Dropping, cuda_graphs=False), play(teacher, tmp_path), hours=1)
    assert difference_of(one, asked) < 0.5


def difference_of(one, other):
    """The median difference of weights, as a share of their median size."""
    a, b = (torch.cat([weights.flatten() for weights in module.parameters()]) for module in (one, other))
    return ((a - b).abs().median() / a.abs().median()).item()


def test_a_loss_that_cannot_be_recorded_says_so(tmp_path, make_teacher):
    """Where `cuda_graphs` asks for what cannot be, one line says what to change."""

    class Asking(StudentModule):
        def loss(self, batch):
            loss = super().loss(batch)
            return loss if loss.mean().item() > -1 else loss + 1

    with pytest.raises(NotRecordable, match="the updates of Asking cannot be recorded, so cuda_graphs must be false"):
        learn(student(Asking, cuda_graphs=True), play(make_teacher("pong"), tmp_path), hours=1)


def test_frames_lie_on_the_gpu(tmp_path, make_teacher):
    """A memory that fits there keeps its frames there, and gives the observations that were packed."""
    data = play(make_teacher("pong"), tmp_path)
    learn(student(), data, hours=1)
    memory = data.experiences["pong"].memory
    assert memory._frames.raw.device.type == "cuda"
