"""Several teachers of one game as one: a mixture of their policies, or a vote."""

import hashlib
import json
import math
from collections.abc import Sequence
from typing import get_args

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from distill import checks
from distill.errors import DistillError
from distill.protocol import TEMPERATURE
from distill.weights.callables import CallableNetwork, Combination, Scores, Teacher
from distill.weights.digests import digest_of
from distill.weights.load import load_playing

TIE_BREAK = 1e-3
"""Of a vote, the share of the mixture."""


class Ensemble(nn.Module):
    r"""Several networks that answer as one.

    `mixture`: the weighted mean of their softened policies, $p = \sum_i w_i \mathrm{softmax}(q_i / \tau_i)$; the answer
    is $\tau \ln p$. $\tau_i$ is 0.01 for values and 1 for a policy's logits; $\tau$ is 1 where all are policies, else
    0.01. So `kl` at temperature $\tau$ learns $p$, `nll` its likeliest action, and `gap` weighs by
    $\ln p_1 - \ln p_2$ of the two likeliest. `vote`: the same of their greedy policies, so $p$ is each action's share
    of the votes, but for a thousandth that is the mixture and decides between actions with as many.

    Args:
        members: The teachers, two or more, all with the same actions.
        weights: One for each; 0 or more, their sum above 0.
        combine: How they answer.
    """

    def __init__(self, members: Sequence[Teacher], weights: Sequence[float], combine: Combination) -> None:
        super().__init__()
        self.members = nn.ModuleList(member.network for member in members)
        self.kind = "policy" if all(member.kind == "policy" for member in members) else "values"
        self.temperatures = [1.0 if member.kind == "policy" else TEMPERATURE for member in members]
        self.shares = [weight / sum(weights) for weight in weights]
        self.combine = combine
        said = [[digest_of(member.network), member.kind] for member in members]
        content = json.dumps([combine, self.shares, said])
        self.digest = hashlib.sha256(content.encode()).hexdigest()
        """Names its hours of play: by all members, their weights and how they are combined."""

    def forward(self, observations: UInt8[Tensor, "B 4 84 84"]) -> Float[Tensor, "B A"]:
        """Return the ensemble's answer."""
        outputs = [network(observations).float() for network in self.members]
        softened = [of / temperature for of, temperature in zip(outputs, self.temperatures, strict=True)]
        logs = [
            of.log_softmax(dim=1) + math.log(share)
            for of, share in zip(softened, self.shares, strict=True)
            if share > 0
        ]
        mixture = torch.stack(logs).logsumexp(dim=0)
        if self.combine == "vote":
            greedy = [nn.functional.one_hot(of.argmax(dim=1), of.shape[1]) for of in outputs]
            votes = torch.stack([share * of for share, of in zip(self.shares, greedy, strict=True)]).sum(dim=0)
            mixture = torch.logaddexp(torch.log((1 - TIE_BREAK) * votes), math.log(TIE_BREAK) + mixture)
        return mixture if self.kind == "policy" else TEMPERATURE * mixture


def load_ensemble(
    sources: Sequence[str | Scores], weights: Sequence[float] | None, combine: Combination, game: str
) -> Teacher:
    """Load several teachers of a game as one.

    Args:
        sources: Each as for `load_playing`.
        weights: One for each, 0 or more; None weighs all alike.
        combine: How they answer.
        game: ALE name.

    Raises:
        ValueError: as `load_playing`; for fewer than two, for weights that are none, and for teachers whose rules of
            play, and so whose actions, differ.
    """
    checks.one_of(get_args(Combination), combine=combine)
    if len(sources) < 2:
        raise DistillError(f"teacher is a list of {len(sources)}; give two or more, or one by its name")
    weights = [1.0] * len(sources) if weights is None else weights
    if len(weights) != len(sources) or min(weights) < 0 or not 0 < sum(weights) < math.inf:
        raise DistillError(
            f"teacher_weights are {list(weights)}; they must be {len(sources)} numbers of 0 or more, one for each "
            "teacher, and not all 0"
        )
    members = [load_playing(source, game) for source in sources]
    first = members[0]
    for member in members:
        if member.env != first.env:
            by = [one.env.described.removeprefix(", ") or "the paper's rules" for one in (first, member)]
            raise DistillError(f"{first.name} plays by {by[0]}, {member.name} by {by[1]}; they must play by the same")
    ensemble = Ensemble(members, weights, combine)
    network = CallableNetwork(ensemble, game, first.network.num_actions, digest=ensemble.digest)
    name = f"{combine} of {', '.join(member.name for member in members)}"
    return Teacher(name, network, None, ensemble.kind, first.env)
