"""The losses against numbers worked out by hand."""

import pytest
import torch
from torch import Tensor

from distill.losses import gap_loss, kl_loss, mse_loss, n_step_returns, nll_loss, td_loss

LN2, LN3 = 0.6931472, 1.0986123


def gradient(loss: Tensor, inputs: Tensor) -> Tensor:
    return torch.autograd.grad(loss.sum(), inputs)[0]


def values(rows: int, actions: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    student, teacher = scale * torch.randn(2, rows, actions, generator=draw)
    return student.requires_grad_(), teacher


def test_nll():
    """The loss is minus the log-probability of the teacher's best action, whatever the gap to the others."""
    # softmax(0, ln 3) = (1/4, 3/4); -ln(3/4) = ln 4 - ln 3 = 0.2876821; -ln(1/4) = 1.3862944
    student = torch.tensor([[0, LN3], [0, LN3]], requires_grad=True)
    teacher = torch.tensor([[-50.0, 7.0], [1.0, 0.9]])
    loss = nll_loss(student, teacher)
    torch.testing.assert_close(loss, torch.tensor([0.2876821, 1.3862944]))
    # softmax - onehot: (1/4, 3/4 - 1) and (1/4 - 1, 3/4)
    torch.testing.assert_close(gradient(loss, student), torch.tensor([[0.25, -0.25], [-0.75, 0.75]]))


def test_gap():
    """A tie weighs nothing, a wide gap all, and between them the weight is that of the two best actions' softmax."""
    # nll: ln 3, ln 3, ln(3 / 2). softmax(ln 3, 0) = (3/4, 1/4) and 2 x 3/4 - 1 = 1/2; the third value changes nothing
    student = torch.log(torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [2.0, 0.5, 0.5]])).requires_grad_()
    teacher = torch.tensor([[4.0, 4.0, 1.0], [0.5 * LN3, 0.0, -9.0], [90.0, 1.0, 1.0]])
    loss = gap_loss(student, teacher, temperature=0.5)
    torch.testing.assert_close(loss, torch.tensor([0.0, LN3 / 2, LN3 - LN2]))
    # half of softmax - onehot
    torch.testing.assert_close(gradient(loss, student)[1], torch.tensor([-2.0, 1.0, 1.0]) / 6)


def test_mse():
    """The loss sums squared differences over actions and keeps samples apart."""
    student = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[1.0, 0.0, 6.0], [0.5, 0.0, -2.0]])
    loss = mse_loss(student, teacher)
    # 0 + 4 + 9 = 13; 0.25 + 0 + 4 = 4.25
    torch.testing.assert_close(loss, torch.tensor([13.0, 4.25]))
    # 2 (student - teacher)
    torch.testing.assert_close(gradient(loss, student), torch.tensor([[0.0, 4.0, -6.0], [-1.0, 0.0, 4.0]]))


def test_kl_divides_the_teacher_alone_by_the_temperature():
    """The temperature sharpens the teacher and leaves the student's logits as they are."""
    # Teacher: softmax((0, ln 2) / 0.5) = softmax(0, ln 4) = (0.2, 0.8). Student: softmax(0, ln 3) = (0.25, 0.75).
    # 0.2 ln(0.2 / 0.25) + 0.8 ln(0.8 / 0.75) = 0.2 (-0.2231436) + 0.8 (0.0645385) = 0.0070021
    # (Were the student divided too: 0.2 ln(0.2 / 0.1) + 0.8 ln(0.8 / 0.9) = 0.0444.)
    student = torch.tensor([[0, LN3]], requires_grad=True)
    loss = kl_loss(student, torch.tensor([[0, LN2]]), temperature=0.5)
    torch.testing.assert_close(loss, torch.tensor([0.0070021]), atol=1e-6, rtol=0)
    # 0.25 - 0.2, 0.75 - 0.8
    torch.testing.assert_close(gradient(loss, student), torch.tensor([[0.05, -0.05]]))


@pytest.mark.parametrize("temperature", [0.01, 0.3, 1.0, 5.0])
def test_kl_gradient(temperature):
    """The gradient is the student's policy minus the teacher's, sample by sample."""
    student, teacher = values(8, 6)
    expected = student.softmax(dim=1) - (teacher / temperature).softmax(dim=1)
    found = gradient(kl_loss(student, teacher, temperature=temperature), student)
    torch.testing.assert_close(found, expected.detach())


def test_kl_of_a_cold_teacher_is_nll():
    """Towards temperature 0 the divergence becomes the likelihood of the greedy action."""
    student, teacher = values(16, 4)
    torch.testing.assert_close(kl_loss(student, teacher, temperature=1e-5), nll_loss(student, teacher))
    assert not torch.allclose(kl_loss(student, teacher, temperature=1.0), nll_loss(student, teacher), atol=0.1)


@pytest.mark.parametrize("temperature", [0.01, 1.0, 5.0])
def test_kl_is_zero_at_the_target(temperature):
    """A student whose logits are the teacher's values over the temperature has nothing to learn."""
    _, teacher = values(8, 6)
    student = (teacher / temperature).requires_grad_()
    loss = kl_loss(student, teacher, temperature=temperature)
    torch.testing.assert_close(loss, torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(gradient(loss, student), torch.zeros(8, 6), atol=1e-5, rtol=0)


def test_kl_stays_finite():
    """Values 100 apart at temperature 0.001 give the finite numbers that they should."""
    teacher = torch.tensor([[100.0, 0.0, -100.0], [0.0, 100.0, 0.0]])
    student = torch.tensor([[-100.0, 0.0, 100.0], [0.0, 100.0, 0.0]], requires_grad=True)
    loss = kl_loss(student, teacher, temperature=0.001)
    # All weight is on the teacher's best action; the student's log-probability of it is -100 - 100 and 0.
    torch.testing.assert_close(loss, torch.tensor([200.0, 0.0]))
    torch.testing.assert_close(gradient(loss, student), torch.tensor([[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]))


def test_td():
    """The loss is quadratic within 1 and linear beyond, of the taken action alone; its gradient is at most 1."""
    q = torch.tensor([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]], requires_grad=True)
    loss = td_loss(q, torch.tensor([1, 1, 0]), torch.tensor([2.5, 7.0, -2.0]))
    # Errors -0.5, -5, 3: 0.5 x 0.25 = 0.125; 5 - 0.5 = 4.5; 3 - 0.5 = 2.5
    torch.testing.assert_close(loss, torch.tensor([0.125, 4.5, 2.5]))
    torch.testing.assert_close(gradient(loss, q), torch.tensor([[0.0, -0.5], [0.0, -1.0], [1.0, 0.0]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["nll", "mse", "kl", "gap", "td"])
def test_one_float32_number_per_sample(name, dtype):
    """Half-precision inputs are widened before anything is computed, and samples are not reduced."""
    losses = {
        "nll": nll_loss,
        "mse": mse_loss,
        "kl": lambda student, teacher: kl_loss(student, teacher, temperature=0.01),
        "gap": lambda student, teacher: gap_loss(student, teacher, temperature=0.01),
        "td": lambda student, teacher: td_loss(student, torch.tensor([0, 1, 2, 0, 1]), teacher[:, 0]),
    }
    student, teacher = (x.detach().to(dtype) for x in values(5, 3))
    loss = losses[name](student, teacher)
    assert loss.shape == (5,)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, losses[name](student.float(), teacher.float()), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        ([0, 0, 0], 4),  # 1 + 2/2 + 4/4 + 8/8
        ([0, 0, 1], 3),  # 1 + 2/2 + 4/4
        ([0, 1, 0], 2),  # 1 + 2/2
        ([1, 0, 0], 1),
        ([1, 0, 1], 1),
    ],
)
def test_returns_of_three_steps(ended, expected):
    """Rewards up to the first end are discounted step by step; the value counts where there is no end."""
    rewards, values = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([8.0])
    found = n_step_returns(rewards, torch.tensor([ended]).float(), values, discount=0.5)
    assert found.tolist() == [expected]


def test_returns_of_one_step():
    """Looking one step ahead gives the ordinary target, row by row: the reward, and the value unless it ended."""
    rewards, ended = torch.tensor([[1.0], [1.0], [-2.0]]), torch.tensor([[0.0], [1.0], [0.0]])
    # 1 + 0.9 x 10; 1; -2 + 0.9 x 30
    found = n_step_returns(rewards, ended, torch.tensor([10.0, 20.0, 30.0]), discount=0.9)
    torch.testing.assert_close(found, torch.tensor([10.0, 1.0, 25.0]))


@pytest.mark.parametrize("end", [0, 1, 2])
def test_nothing_flows_over_an_end(end):
    """What lies behind an ended step changes nothing: neither rewards nor further ends nor the value."""
    rewards, ended, values = torch.tensor([[1.0, 2.0, 4.0]]), torch.zeros(1, 3), torch.tensor([8.0])
    ended[0, end] = 1
    before = n_step_returns(rewards, ended, values, discount=0.9)
    rewards[0, end + 1 :], ended[0, end + 1 :] = -70, 1
    assert torch.equal(n_step_returns(rewards, ended, -90 * values, discount=0.9), before)
