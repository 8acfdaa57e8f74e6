"""The losses, as pure functions: one number per sample, reduced by the caller.

`q_student` and `q_teacher` are unnormalised outputs, one per legal action. Everything is computed in log space and in
float32, or in float64 where that is given, so that a temperature of 0.001 on values 100 apart gives finite numbers.

The teacher's policy is softmax(q_teacher / temperature), the student's is softmax(q_student): as in Rusu et al. 2016,
the temperature divides the teacher's values alone. Hinton et al. 2015 and Agarwal et al. 2024 divide both networks'.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

KINDS = ("values", "policy")
"""What a network's outputs are: values of actions; or logits, whose softmax are the actions' probabilities."""
DIVERGENCES = ("kl", "reverse_kl", "jsd")
"""Losses that compare the student's policy with the teacher's."""
WITH_TEMPERATURE = (*DIVERGENCES, "gap")
"""Losses that divide the teacher's values by a temperature."""


def kind_taught_by(loss_name: str) -> str:
    """Return the kind of output that a loss teaches: `mse` teaches values, the others teach a policy."""
    return "values" if loss_name == "mse" else "policy"


def _widened(numbers: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Widen to float32 what is narrower; leave float64."""
    return numbers if numbers.dtype == torch.float64 else numbers.float()


def nll_loss(q_student: Float[Tensor, "B A"], q_teacher: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
    r"""Negative log-likelihood of the teacher's greedy action.

    $-\log \mathrm{softmax}(q_S)_{a^*}$ with $a^* = \arg\max_a q_T(a)$. Rusu et al. 2016, section 3.2, equation 1.
    """
    return F.cross_entropy(_widened(q_student), q_teacher.argmax(dim=1), reduction="none")


def gap_loss(
    q_student: Float[Tensor, "B A"], q_teacher: Float[Tensor, "B A"], *, temperature: float
) -> Float[Tensor, " B"]:
    r"""`nll_loss`, weighted by the softmax of the teacher's action gap: a state counts by how much its choice matters.

    $\tanh(g / 2 \tau) \cdot \mathrm{nll}$ with $g$ the difference of the teacher's two best values; the factor is
    the probability of the best action under a softmax of the two at temperature $\tau$, stretched from [1/2, 1] to
    [0, 1], so that a tie counts for nothing. From the paper's outlook, after CAPI (Farahmand et al. 2015), whose weight
    is the gap itself; the paper prints neither formula nor result, so both are ours.

    Args:
        q_student: The student's outputs.
        q_teacher: The labels, of two actions or more.
        temperature: Above 0. Towards 0 the loss tends to `nll_loss`.
    """
    best, second = _widened(q_teacher).topk(2, dim=1).values.unbind(dim=1)
    return torch.tanh((best - second) / (2 * temperature)) * nll_loss(q_student, q_teacher)


def mse_loss(q_student: Float[Tensor, "B A"], q_teacher: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
    r"""Squared distance of all values, summed over actions as printed.

    $\lVert q_T - q_S \rVert_2^2$. Rusu et al. 2016, section 3.2, equation 2.
    """
    return (_widened(q_teacher) - _widened(q_student)).square().sum(dim=1)


def kl_loss(
    q_student: Float[Tensor, "B A"], q_teacher: Float[Tensor, "B A"], *, temperature: float
) -> Float[Tensor, " B"]:
    r"""Kullback-Leibler divergence of the student's policy from the teacher's sharpened one: the forward KL.

    $\sum_a p_a (\ln p_a - \ln \mathrm{softmax}(q_S)_a)$ with $p = \mathrm{softmax}(q_T / \tau)$. Rusu et al. 2016,
    section 3.2, equation 3. The temperature divides the teacher's values only, so a student's outputs are logits, not
    values. The gradient with respect to `q_student` is $\mathrm{softmax}(q_S) - p$.

    Args:
        q_student: The student's outputs.
        q_teacher: The labels.
        temperature: Above 0; the paper's is 0.01. Towards 0 the loss tends to `nll_loss`.
    """
    log_student, log_teacher = _log_policies(q_student, q_teacher, temperature)
    return _divergence(log_teacher, log_student)


def reverse_kl_loss(
    q_student: Float[Tensor, "B A"], q_teacher: Float[Tensor, "B A"], *, temperature: float
) -> Float[Tensor, " B"]:
    r"""Kullback-Leibler divergence of the teacher's sharpened policy from the student's: `kl_loss` the other way round.

    $\sum_a s_a (\ln s_a - \ln p_a)$ with $s = \mathrm{softmax}(q_S)$ and $p = \mathrm{softmax}(q_T / \tau)$. Agarwal et
    al. 2024, section 2, "KL-based divergences". The temperature divides the teacher's values only, as in `kl_loss`;
    theirs divides both. The gradient with respect to `q_student` is $s_a (\ln(s_a / p_a) - D)$ with $D$ the loss.

    Minimised, it has the student choose actions of high value, and spread: but for a constant it is minus
    $\sum_a s_a q_T(a) / \tau$ and minus the student's entropy. It has no bound, and grows as $1 / \tau$.

    Args:
        q_student: The student's outputs.
        q_teacher: The labels.
        temperature: Above 0.
    """
    log_student, log_teacher = _log_policies(q_student, q_teacher, temperature)
    return _divergence(log_student, log_teacher)


def jsd_loss(
    q_student: Float[Tensor, "B A"], q_teacher: Float[Tensor, "B A"], *, beta: float, temperature: float
) -> Float[Tensor, " B"]:
    r"""Jensen-Shannon divergence of the student's policy and the teacher's sharpened one, generalised.

    $\beta D(p \Vert m) + (1 - \beta) D(s \Vert m)$ with $m = \beta p + (1 - \beta) s$, $D$ the Kullback-Leibler
    divergence, $s = \mathrm{softmax}(q_S)$ and $p = \mathrm{softmax}(q_T / \tau)$. Agarwal et al. 2024, section 2,
    equation 1. The temperature divides the teacher's values only, as in `kl_loss`; theirs divides both. The gradient
    with respect to `q_student` is $(1 - \beta) s_a (\ln(s_a / m_a) - D(s \Vert m))$. At 1/2 it is at most $\ln 2$.

    Towards 0, divided by `beta`, it tends to `kl_loss`; towards 1, divided by `1 - beta`, to `reverse_kl_loss`. At 0
    and 1, where the formula gives 0, it is these two.

    Args:
        q_student: The student's outputs.
        q_teacher: The labels.
        beta: The teacher's share of the mixture $m$, 0 to 1.
        temperature: Above 0.
    """
    log_student, log_teacher = _log_policies(q_student, q_teacher, temperature)
    if beta == 0:
        return _divergence(log_teacher, log_student)
    if beta == 1:
        return _divergence(log_student, log_teacher)
    log_mixture = torch.logaddexp(log_teacher + math.log(beta), log_student + math.log1p(-beta))
    return beta * _divergence(log_teacher, log_mixture) + (1 - beta) * _divergence(log_student, log_mixture)


def _log_policies(
    q_student: Float[Tensor, "B A"], q_teacher: Float[Tensor, "B A"], temperature: float
) -> tuple[Float[Tensor, "B A"], Float[Tensor, "B A"]]:
    """Return the logarithms of the student's policy and of the teacher's."""
    log_teacher = F.log_softmax(_widened(q_teacher) / temperature, dim=1)
    return F.log_softmax(_widened(q_student), dim=1), log_teacher


def _divergence(log_one: Float[Tensor, "B A"], log_other: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
    """Return the Kullback-Leibler divergence D(one || other)."""
    return (log_one.exp() * (log_one - log_other)).sum(dim=1)


def td_loss(q: Float[Tensor, "B A"], actions: Int[Tensor, " B"], targets: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    r"""Huber loss of the taken actions' values: the squared error whose gradient is clipped to [-1, 1].

    Mnih et al. 2015, methods: "error clipping".
    """
    taken = _widened(q).gather(1, actions[:, None]).squeeze(1)
    return F.smooth_l1_loss(taken, targets, reduction="none")


def n_step_returns(
    rewards: Float[Tensor, "B T"],
    ended: Float[Tensor, "B T"],
    values: Float[Tensor, " B"],
    *,
    discount: float,
) -> Float[Tensor, " B"]:
    r"""Targets that look `T` steps ahead: $\sum_{k<T} \gamma^k r_k + \gamma^T V$, cut at an episode's end.

    Sutton 1988; with `T = 1` the target of Mnih et al. 2015.

    Args:
        rewards: What the steps brought.
        ended: 1 where the episode ended with the step, else 0; nothing after it counts.
        values: The value of the observation after the last step.
        discount: $\gamma$, 0 to 1.
    """
    returns = values
    for step in reversed(range(rewards.shape[1])):
        returns = rewards[:, step] + discount * (1 - ended[:, step]) * returns
    return returns
