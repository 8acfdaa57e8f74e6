"""The losses, as pure functions: one number per sample, reduced by the caller.

`q_student` and `q_teacher` are unnormalised outputs, one per legal action. Everything is computed in float32 and in
log space, so that a temperature of 0.001 on values 100 apart gives finite numbers.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

KINDS = ("values", "policy")
"""What a network's outputs are: values of actions; or logits, whose softmax are the actions' probabilities."""


def kind_taught_by(loss_name: str) -> str:
    """Return the kind of output that a loss teaches: `mse` teaches values, the others teach a policy."""
    return "values" if loss_name == "mse" else "policy"


def nll_loss(q_student: Float[Tensor, "B A"], q_teacher: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
    r"""Negative log-likelihood of the teacher's greedy action.

    $-\log \mathrm{softmax}(q_S)_{a^*}$ with $a^* = \arg\max_a q_T(a)$. Rusu et al. 2016, section 3.2, equation 1.
    """
    return F.cross_entropy(q_student.float(), q_teacher.argmax(dim=1), reduction="none")


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
    best, second = q_teacher.float().topk(2, dim=1).values.unbind(dim=1)
    return torch.tanh((best - second) / (2 * temperature)) * nll_loss(q_student, q_teacher)


def mse_loss(q_student: Float[Tensor, "B A"], q_teacher: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
    r"""Squared distance of all values, summed over actions as printed.

    $\lVert q_T - q_S \rVert_2^2$. Rusu et al. 2016, section 3.2, equation 2.
    """
    return (q_teacher.float() - q_student.float()).square().sum(dim=1)


def kl_loss(
    q_student: Float[Tensor, "B A"], q_teacher: Float[Tensor, "B A"], *, temperature: float
) -> Float[Tensor, " B"]:
    r"""Kullback-Leibler divergence of the student's policy from the teacher's sharpened one.

    $\sum_a p_a (\ln p_a - \ln \mathrm{softmax}(q_S)_a)$ with $p = \mathrm{softmax}(q_T / \tau)$. Rusu et al. 2016,
    section 3.2, equation 3. The temperature divides the teacher's values only, so a student's outputs are logits, not
    values. The gradient with respect to `q_student` is $\mathrm{softmax}(q_S) - p$.

    Args:
        q_student: The student's outputs.
        q_teacher: The labels.
        temperature: Above 0; the paper's is 0.01. Towards 0 the loss tends to `nll_loss`.
    """
    log_teacher = F.log_softmax(q_teacher.float() / temperature, dim=1)
    log_student = F.log_softmax(q_student.float(), dim=1)
    return (log_teacher.exp() * (log_teacher - log_student)).sum(dim=1)


def td_loss(q: Float[Tensor, "B A"], actions: Int[Tensor, " B"], targets: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    r"""Huber loss of the taken actions' values: the squared error whose gradient is clipped to [-1, 1].

    Mnih et al. 2015, methods: "error clipping".
    """
    taken = q.float().gather(1, actions[:, None]).squeeze(1)
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
