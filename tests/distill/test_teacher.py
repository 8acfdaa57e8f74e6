"""The teacher module: targets by hand, and when the target network follows."""

import pytest
import torch
from same import same_weights
from torch.testing import assert_close

from distill.data import ReplayDataModule
from distill.replay import Transitions
from distill.teacher import TeacherModule
from distill.weights.load import load_network
from tests.distill.test_data import fit


def rows(rewards, ended=None, lost_life=None):
    """Transitions with these rewards, from random observations."""
    rewards = torch.tensor(rewards, dtype=torch.float32)
    none = torch.zeros(rewards.shape, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    seen, following = torch.randint(0, 256, (2, len(rewards), 4, 84, 84), dtype=torch.uint8, generator=generator)
    return Transitions(
        seen,
        torch.zeros(len(rewards), dtype=torch.int64),
        rewards,
        none if ended is None else torch.tensor(ended),
        none if lost_life is None else torch.tensor(lost_life),
        following,
    )


def test_one_step_targets_are_those_of_mnih():
    """With one step the target is the clipped reward plus the discounted largest target value."""
    teacher = TeacherModule("pong", network="net3", discount=0.9)
    batch = rows([[3.0], [-0.5]])
    best = teacher.target(batch.next_observations).amax(1)
    assert_close(teacher.targets(batch), torch.tensor([1.0, -0.5]) + 0.9 * best)


def test_double_values_the_learning_networks_choice():
    """With `double` the learning network chooses and the target network values."""
    torch.manual_seed(0)
    teacher = TeacherModule("pong", network="net3", discount=0.9, double=True)
    torch.nn.init.normal_(teacher.network.out.bias, std=10.0)
    batch = rows([[0.0]] * 8)
    chosen = teacher.network(batch.next_observations).argmax(1)
    values = teacher.target(batch.next_observations)
    assert (chosen != values.argmax(1)).any()
    assert_close(teacher.targets(batch), 0.9 * values[torch.arange(8), chosen])


def test_a_pretrained_teacher_begins_with_equal_networks(make_teacher):
    """What is learned and what gives the targets both begin with the file's weights."""
    file = make_teacher("pong")
    teacher = TeacherModule("pong", network="net3", pretrained=file)
    for name, tensor in load_network(file)[0].state_dict().items():
        assert torch.equal(tensor, teacher.network.state_dict()[name])
        assert torch.equal(tensor, teacher.target.state_dict()[name])


def test_a_teacher_can_be_turned_to_float64():
    """The option `double` does not hide the method of that name, by which Lightning sets `precision` 64-true."""
    assert TeacherModule("pong", network="net3", double=True).double().network.out.weight.dtype == torch.float64


@pytest.mark.parametrize(("life_loss_ends", "expected"), [(True, 1.0), (False, 1.5)])
def test_a_lost_life_ends_the_target_only_where_asked(life_loss_ends, expected):
    """After a lost life nothing counts with `life_loss_ends`, and everything without."""
    teacher = TeacherModule("pong", network="net3", discount=0.5, life_loss_ends=life_loss_ends)
    batch = rows([[1.0, 1.0]], ended=[[False, True]], lost_life=[[True, False]])
    assert teacher.targets(batch).item() == expected


def test_rewards_are_clipped_only_where_asked():
    """`clip_rewards` false leaves rewards as they are."""
    teacher = TeacherModule("pong", network="net3", clip_rewards=False)
    assert teacher.targets(rows([[7.0]], ended=[[True]])).item() == 7.0


def test_the_defaults_are_mnih_et_al_2015():
    """Every value of their table that the module holds is its default."""
    hparams = TeacherModule("pong").hparams
    table = {"network": "dqn", "discount": 0.99, "target_updates": 10_000, "learning_rate": 2.5e-4, "double": False}
    assert {name: hparams[name] for name in table} == table
    assert hparams["optimizer"] == "rmsprop"
    assert hparams["clip_rewards"]
    assert hparams["life_loss_ends"]


@pytest.mark.parametrize("arguments", [{"discount": 1.5}, {"learning_rate": -1.0}, {"target_updates": 0}])
def test_bad_arguments_are_refused(arguments):
    """Values out of range give a `ValueError` that says the range."""
    with pytest.raises(ValueError, match="must be"):
        TeacherModule("pong", **arguments)


def test_options_reach_the_optimiser():
    """RMSProp is that of Mnih et al., centred; Adam has the epsilon given."""
    (group,) = TeacherModule("pong", "net3").configure_optimizers().param_groups
    assert (group["lr"], group["alpha"], group["eps"], group["centered"]) == (2.5e-4, 0.95, 0.1 / 32, True)
    adam = TeacherModule("pong", "net3", optimizer="adam", optimizer_epsilon=0.01).configure_optimizers()
    assert (type(adam), adam.param_groups[0]["eps"]) == (torch.optim.Adam, 0.01)


def test_the_target_network_follows_every_so_many_updates(small):
    """It is what the network was at every eighth update, and no other."""
    same = []

    class Watching(TeacherModule):
        def training_step(self, block):
            super().training_step(block)
            same.append(same_weights(self.network, self.target))

    fit(Watching("pong", network="net3", target_updates=8, learning_rate=1e-3), ReplayDataModule("pong", **small))
    assert same == [False, True, False, True]
