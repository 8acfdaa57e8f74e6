"""The student module: its losses, and what a user's subclass changes."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import nn
from torch.testing import assert_close

from distill.data import ReplayDataModule
from distill.errors import DistillError
from distill.losses import gap_loss, jsd_loss, kl_loss, mse_loss, nll_loss, reverse_kl_loss
from distill.module import Diverged
from distill.networks import build
from distill.replay import Block, Minibatch
from distill.student import StudentModule
from distill.weights.files import save_network
from distill.weights.load import load_network
from tests.distill.test_data import fit


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    observations = torch.randint(0, 256, (5, 4, 84, 84), dtype=torch.uint8, generator=generator)
    return Minibatch(observations, torch.randn(5, 6, generator=generator))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nll", nll_loss),
        ("mse", mse_loss),
        ("kl", lambda q, labels: kl_loss(q, labels, temperature=0.5)),
        ("reverse_kl", lambda q, labels: reverse_kl_loss(q, labels, temperature=0.5)),
        ("jsd", lambda q, labels: jsd_loss(q, labels, beta=0.5, temperature=0.5)),
        ("gap", lambda q, labels: gap_loss(q, labels, temperature=0.5)),
    ],
)
def test_the_loss_is_the_named_one(batch, name, expected):
    """`loss_name` picks the pure function, which gets the module's temperature, and of `jsd` the beta of 0.5."""
    student = StudentModule("pong", loss_name=name, temperature=0.5)
    assert_close(student.loss(batch), expected(student(batch.observations), batch.labels))


def test_jsd_gets_its_beta(batch):
    """What `jsd_beta` says reaches the loss, 0 as any other number."""
    for beta in (0, 0.2):
        student = StudentModule("pong", loss_name="jsd", jsd_beta=beta, temperature=0.5)
        expected = jsd_loss(student(batch.observations), batch.labels, beta=beta, temperature=0.5)
        assert_close(student.loss(batch), expected)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"game": "pongg"}, "did you mean pong"),
        ({"network": "net9"}, "dqn, net1, net2, net3"),
        ({"loss_name": "kll"}, "nll, mse, kl, reverse_kl, jsd, gap"),
        ({"loss_name": "jsd", "jsd_beta": 1.5}, "jsd_beta is 1.5; it must be between 0 and 1"),
        ({"loss_name": "jsd", "jsd_beta": float("nan")}, "jsd_beta is nan; it must be between 0 and 1"),
        ({"jsd_beta": 0.5}, "jsd_beta is 0.5, but loss_name is kl; it is for jsd, else null"),
        ({"temperature": 0.0}, "above 0"),
        ({"temperature": -1.0}, "above 0"),
        ({"temperature": float("nan")}, "above 0"),
        ({"learning_rate": 0.0}, "above 0"),
    ],
)
def test_bad_arguments_are_refused_with_what_is_allowed(arguments, reason):
    """Each bad argument gives a `ValueError` that says what is allowed."""
    with pytest.raises(ValueError, match=reason):
        StudentModule(**{"game": "pong", **arguments})


def test_the_game_sets_the_number_of_actions():
    """The network has one output per legal action of the game."""
    assert StudentModule("freeway").network.num_actions == 3


def test_a_student_begins_with_the_weights_of_a_file(tmp_path, make_teacher):
    """`pretrained` takes a file, or a shipped name, and learning goes on from there."""
    file = make_teacher("pong")
    student = StudentModule("pong", network="net3", pretrained=file)
    for name, tensor in load_network(file)[0].state_dict().items():
        assert torch.equal(tensor, student.network.state_dict()[name])
    several = build("multi3", num_actions={"freeway": 3, "pong": 6})
    save_network(tmp_path / "several.safetensors", several, {"game": ["freeway", "pong"]})
    begun = StudentModule(["pong", "freeway"], network="multi3", pretrained=str(tmp_path / "several.safetensors"))
    for game in ("pong", "freeway"):
        for one, other in zip(
            several.for_game(game).parameters(), begun.network.for_game(game).parameters(), strict=True
        ):
            assert torch.equal(one, other)


def test_a_network_of_ones_own_may_be_lazy_and_have_arguments():
    """A layer that learns its size at the first call learns; what the network needs of its class is set before."""

    class Lazy(StudentModule):
        def __init__(self, width: int = 7, **kwargs):
            self.width = width
            super().__init__(**kwargs)

        def make_network(self, num_actions):
            layers = nn.Flatten(), nn.LazyLinear(self.width), nn.Linear(self.width, num_actions)
            return nn.Sequential(Halves(), *layers)

    class Halves(nn.Module):
        def forward(self, observations):
            return observations.float() / 2

    student = Lazy(game="pong", width=5)
    student(torch.ones(2, 4, 84, 84, dtype=torch.uint8)).sum().backward()
    assert [tuple(weight.grad.shape) for weight in student.parameters()] == [(5, 4 * 84 * 84), (5,), (6, 5), (6,)]


def test_agreement_is_without_dropout(batch):
    """What a student does is measured as it would act; it learns with dropout all the same."""

    class Dropping(StudentModule):
        modes = ()

        def make_network(self, num_actions):
            owner = self

            class Watched(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.out = nn.Linear(1, num_actions)

                def forward(self, observations):
                    owner.modes += (self.training,)
                    return self.out(observations.float().mean(dim=(1, 2, 3))[:, None])

            return Watched()

    student = Dropping("pong").train()
    student.modes = ()
    student.update = lambda block: student.loss(batch).mean()
    student.log_block = lambda **metrics: None
    student.training_step(Block({"pong": batch}, ("pong",), len(batch)))
    assert student.modes == (False, True)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"network": "net3"}, "has layers of 32, 64, 64, 512 and 6 actions; here .* layers of 16, 16, 16, 64 and 6"),
        ({"network": "dqn", "game": "breakout"}, "plays pong, not breakout"),
        ({"network": "dqn", "pretrained": "nowhere"}, "'nowhere' is neither a file nor a shipped teacher"),
    ],
)
def test_weights_of_another_network_are_refused(arguments, reason):
    """With one line that says what they are, and what they must be."""
    with pytest.raises(ValueError, match=reason):
        StudentModule(**{"game": "pong", "pretrained": "pong", **arguments})


def test_agreement_is_the_share_of_equal_greedy_actions():
    """Of five states in which the student does what its teacher does in three, that is 60%."""
    torch.manual_seed(0)
    student, logged = StudentModule("pong"), {}
    seen = torch.randint(0, 256, (5, 4, 84, 84), dtype=torch.uint8)
    labels = student(seen).detach()
    labels[:2] *= -1
    student.update = lambda block: torch.zeros(())
    student.log_block = lambda **metrics: logged.update(metrics)
    student.training_step(Block({"pong": Minibatch(seen, labels, game="pong")}, ("pong",), 5))
    assert logged["agreement"].item() == pytest.approx(0.6)


def test_options_reach_the_optimiser():
    """Learning rate, decay and epsilon are the ones given."""
    (group,) = StudentModule("pong", learning_rate=2e-3, decay=0.5, rms_epsilon=0.1).configure_optimizers().param_groups
    assert (group["lr"], group["betas"], group["eps"]) == (2e-3, (0.0, 0.5), 0.1)


def test_the_learning_rate_follows_its_schedule(make_teacher, small):
    """It changes with each block, in proportion to the time between two points."""
    seen = []

    class Watching(StudentModule):
        def loss(self, batch):
            seen.append(self.optimizers().param_groups[0]["lr"])
            return super().loss(batch)

    fit(Watching("pong", learning_rate=[(0, 1e-3), (2, 2e-4)]), ReplayDataModule("pong", make_teacher("pong"), **small))
    assert seen == pytest.approx([1e-3] * 4 + [8e-4] * 4 + [6e-4] * 4 + [4e-4] * 4)


def test_a_loss_that_is_no_number_stops_the_run(make_teacher, small):
    """The line names the update and its hour."""

    class Diverging(StudentModule):
        def loss(self, batch):
            return super().loss(batch) * (float("nan") if self.global_step == 13 else 1)

    with pytest.raises(Diverged, match="the loss of update 14, in hour 1, is nan"):
        fit(Diverging("pong"), ReplayDataModule("pong", make_teacher("pong"), **small))


@pytest.mark.parametrize(
    ("precision", "strategy", "unwatched"),
    [
        ("32-true", SingleDeviceStrategy("cpu"), True),
        ("bf16-mixed", SingleDeviceStrategy("cpu"), True),
        ("16-mixed", SingleDeviceStrategy("cpu"), False),
        ("32-true", DDPStrategy(), False),
    ],
)
def test_lightnings_backward_pass_is_taken_where_it_does_more(precision, strategy, unwatched):
    """Where losses are scaled, or gradients are averaged over devices, PyTorch's alone would be wrong."""
    student = StudentModule("pong")
    student._trainer = SimpleNamespace(callbacks=[], strategy=strategy, precision=precision)
    assert student._unwatched() == unwatched


class OwnOptimizer(StudentModule):
    """Has two groups of different rates, of which one falls after each update, the other after each hour."""

    interval = "step"

    def configure_optimizers(self):
        head = [*self.network.out.parameters()]
        body = [weight for weight in self.network.parameters() if all(weight is not one for one in head)]
        optimizer = torch.optim.SGD([{"params": body, "lr": 1e-3}, {"params": head, "lr": 1e-2}])
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": self.interval}}


@pytest.mark.parametrize(("interval", "times"), [("step", 16), ("epoch", 2)])
def test_an_optimiser_of_ones_own_keeps_its_rates(make_teacher, small, monkeypatch, capsys, interval, times):
    """Each group's rate is its own, and follows its scheduler, in updates or in hours."""
    monkeypatch.setattr(OwnOptimizer, "interval", interval)
    module = OwnOptimizer("pong", network="net3")
    fit(module, ReplayDataModule("pong", make_teacher("pong"), **small))
    rates = [group["lr"] for group in module.optimizers().param_groups]
    assert rates == pytest.approx([1e-3 * 0.5**times, 1e-2 * 0.5**times])
    assert capsys.readouterr().err == ""


def test_a_learning_rate_beside_an_optimiser_of_ones_own_is_said_not_to_hold(make_teacher, small, capsys):
    """One line names whose rates hold."""
    data = ReplayDataModule("pong", make_teacher("pong"), **small)
    fit(OwnOptimizer("pong", network="net3", learning_rate=0.5), data, hours=1)
    expected = "note: learning_rate is not used: configure_optimizers of OwnOptimizer sets its own rates\n"
    assert capsys.readouterr().err == expected


def test_two_optimisers_are_refused(make_teacher, small):
    """A block of updates is of one; the line says so."""

    class Two(StudentModule):
        def configure_optimizers(self):
            return [torch.optim.SGD(self.network.parameters(), 1e-3) for _ in range(2)]

    with pytest.raises(DistillError, match="returns 2 optimisers; an update is one step of one"):
        fit(Two("pong", network="net3"), ReplayDataModule("pong", make_teacher("pong"), **small), hours=1)


def test_a_loss_of_the_wrong_shape_is_named(make_teacher, small):
    """A mean, which anybody would write, is refused by the name of the class that gave it."""

    class Mean(StudentModule):
        def loss(self, batch):
            return super().loss(batch).mean()

    with pytest.raises(ValueError, match=r"the loss of Mean gives shape \[\]; it must give a number for each row"):
        fit(Mean("pong"), ReplayDataModule("pong", make_teacher("pong"), **small), 1)
