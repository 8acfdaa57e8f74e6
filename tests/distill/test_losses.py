"""The losses against numbers worked out by hand."""

import pytest
import torch
from torch import Tensor

from distill.losses import (
    gap_loss,
    jsd_loss,
    kl_loss,
    mse_loss,
    n_step_returns,
    nll_loss,
    reverse_kl_loss,
    td_loss,
)

LN2, LN3 = 0.6931472, 1.0986123
LOSSES = {
    "nll": nll_loss,
    "mse": mse_loss,
    "kl": lambda student, teacher: kl_loss(student, teacher, temperature=0.1),
    "reverse_kl": lambda student, teacher: reverse_kl_loss(student, teacher, temperature=0.1),
    "jsd": lambda student, teacher: jsd_loss(student, teacher, beta=0.3, temperature=0.1),
    "gap": lambda student, teacher: gap_loss(student, teacher, temperature=0.1),
    "td": lambda student, teacher: td_loss(student, torch.tensor([0, 1, 2, 0, 1]), teacher[:, 0]),
}


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


def test_reverse_kl():
    """The loss is the divergence of the teacher's sharpened policy from the student's; the student stays as it is."""
    # Teacher: softmax((0, ln 2) / 0.5) = (0.2, 0.8). Student: (0.5, 0.5).
    # 0.5 ln(0.5 / 0.2) + 0.5 ln(0.5 / 0.8) = 0.5 (0.9162907) + 0.5 (-0.4700036) = 0.2231436
    student = torch.zeros(1, 2, requires_grad=True)
    loss = reverse_kl_loss(student, torch.tensor([[0, LN2]]), temperature=0.5)
    torch.testing.assert_close(loss, torch.tensor([0.2231436]))
    # 0.5 (0.9162907 - 0.2231436) = 0.5 ln 2
    torch.testing.assert_close(gradient(loss, student), torch.tensor([[LN2 / 2, -LN2 / 2]]))


def test_jsd():
    """The loss weighs both policies' divergences from their mixture, in which the teacher has the share beta."""
    # Teacher (0.2, 0.8) as above, student (0.5, 0.5), beta 1/4: mixture (0.425, 0.575).
    # D(p || m) = 0.2 ln(0.2 / 0.425) + 0.8 ln(0.8 / 0.575) = 0.2 (-0.7537718) + 0.8 (0.3302417) = 0.1134390
    # D(s || m) = 0.5 ln(0.5 / 0.425) + 0.5 ln(0.5 / 0.575) = 0.5 (0.1625189) + 0.5 (-0.1397619) = 0.0113785
    # 0.25 (0.1134390) + 0.75 (0.0113785) = 0.0368936. (Were the shares exchanged, 0.0396.)
    student = torch.zeros(1, 2, requires_grad=True)
    loss = jsd_loss(student, torch.tensor([[0, LN2]]), beta=0.25, temperature=0.5)
    torch.testing.assert_close(loss, torch.tensor([0.0368936]), atol=1e-6, rtol=0)
    # 0.75 x 0.5 (0.1625189 - 0.0113785) = 0.0566777
    torch.testing.assert_close(gradient(loss, student), torch.tensor([[0.0566777, -0.0566777]]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
def test_the_divergences_are_of_the_policies_as_probabilities(temperature):
    """Each is the sum that its formula says, of softmax(q_S) and softmax(q_T / temperature)."""
    student, teacher = (numbers.detach().double() for numbers in values(8, 6))
    s, p = student.softmax(dim=1), (teacher / temperature).softmax(dim=1)
    m = 0.7 * p + 0.3 * s

    def divergence(one: Tensor, other: Tensor) -> Tensor:
        return (one * (one / other).log()).sum(dim=1)

    torch.testing.assert_close(kl_loss(student, teacher, temperature=temperature), divergence(p, s))
    torch.testing.assert_close(reverse_kl_loss(student, teacher, temperature=temperature), divergence(s, p))
    expected = 0.7 * divergence(p, m) + 0.3 * divergence(s, m)
    torch.testing.assert_close(jsd_loss(student, teacher, beta=0.7, temperature=temperature), expected)


def test_jsd_tends_to_the_two_divergences():
    """Divided by beta it tends to the forward KL at 0, divided by the rest to the reverse at 1; there it is these."""
    student, teacher = (numbers.detach().double() for numbers in values(8, 6))
    forward = kl_loss(student, teacher, temperature=1.0)
    reverse = reverse_kl_loss(student, teacher, temperature=1.0)
    assert not torch.allclose(forward, reverse, rtol=0.1)
    near = {"rtol": 1e-3, "atol": 1e-6}
    low, high = (jsd_loss(student, teacher, beta=beta, temperature=1.0) for beta in (1e-5, 1 - 1e-5))
    torch.testing.assert_close(low / 1e-5, forward, **near)
    torch.testing.assert_close(high / 1e-5, reverse, **near)
    assert torch.equal(jsd_loss(student, teacher, beta=0, temperature=1.0), forward)
    assert torch.equal(jsd_loss(student, teacher, beta=1, temperature=1.0), reverse)


def test_jsd_is_bounded_and_reverse_kl_stays_finite():
    """Values 100 apart at temperature 0.001 give finite losses and gradients: ln 2, and what the worst action costs."""
    teacher = torch.tensor([[100.0, 0.0, -100.0], [0.0, 100.0, 0.0]])
    student = torch.tensor([[-100.0, 0.0, 100.0], [0.0, 100.0, 0.0]], requires_grad=True)
    loss = jsd_loss(student, teacher, beta=0.5, temperature=0.001)
    torch.testing.assert_close(loss, torch.tensor([LN2, 0.0]))
    assert gradient(loss, student).isfinite().all()
    # The student takes the teacher's worst action, of log-probability -200 / 0.001.
    loss = reverse_kl_loss(student, teacher, temperature=0.001)
    torch.testing.assert_close(loss, torch.tensor([200_000.0, 0.0]))
    assert gradient(loss, student).isfinite().all()


def test_td():
    """The loss is quadratic within 1 and linear beyond, of the taken action alone; its gradient is at most 1."""
    q = torch.tensor([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]], requires_grad=True)
    loss = td_loss(q, torch.tensor([1, 1, 0]), torch.tensor([2.5, 7.0, -2.0]))
    # Errors -0.5, -5, 3: 0.5 x 0.25 = 0.125; 5 - 0.5 = 4.5; 3 - 0.5 = 2.5
    torch.testing.assert_close(loss, torch.tensor([0.125, 4.5, 2.5]))
    torch.testing.assert_close(gradient(loss, q), torch.tensor([[0.0, -0.5], [0.0, -1.0], [1.0, 0.0]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", LOSSES)
def test_one_float32_number_per_sample(name, dtype):
    """Half-precision inputs are widened before anything is computed, and samples are not reduced."""
    student, teacher = (x.detach().to(dtype) for x in values(5, 3))
    loss = LOSSES[name](student, teacher)
    assert loss.shape == (5,)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, LOSSES[name](student.float(), teacher.float()), atol=0, rtol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_float64_is_kept(name):
    """In float64 each loss is computed in float64: its gradient is the numerical one, to six digits."""
    student, teacher = (numbers.detach().double() for numbers in values(5, 3))
    student.requires_grad_()
    assert LOSSES[name](student, teacher).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda outputs: LOSSES[name](outputs, teacher), student)


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
