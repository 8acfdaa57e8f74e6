"""Several teachers of one game teach as one."""

import csv
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from distill.cli import main
from distill.data import ReplayDataModule
from distill.losses import gap_loss, kl_loss, nll_loss
from distill.weights.ensembles import load_ensemble
from distill.weights.load import load_network

SEEN = torch.randint(0, 256, (7, 4, 84, 84), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class Fixed(nn.Module):
    """Says the same of every observation.

    Args:
        answer: What.
        kind: What it is.
    """

    def __init__(self, answer: list[float], kind: str = "values") -> None:
        super().__init__()
        self.answer = answer
        self.kind = kind

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return torch.tensor([self.answer]).expand(len(seen), -1)


A, B = [0.02, 0.01, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.03, 0.0, 0.0, 0.0]


def test_a_mixture_is_the_mean_of_the_policies():
    """What `kl` learns at temperature 0.01 is the weighted mean of both softmaxes; `nll` its best action."""
    teacher = load_ensemble([Fixed(A), Fixed(B)], [1, 3], "mixture", "pong")
    mean = 0.25 * (torch.tensor(A) / 0.01).softmax(0) + 0.75 * (torch.tensor(B) / 0.01).softmax(0)
    labels = teacher.network(SEEN)
    torch.testing.assert_close((labels[0] / 0.01).softmax(0), mean)
    student = torch.randn(7, 6)
    expected = (mean * (mean.log() - student.log_softmax(1))).sum(1)
    torch.testing.assert_close(kl_loss(student, labels, temperature=0.01), expected)
    torch.testing.assert_close(nll_loss(student, labels), -student.log_softmax(1)[:, 2])
    assert teacher.kind == "values"
    first, second = mean.log().topk(2).values.tolist()
    best, next_best = labels[0].topk(2).values.tolist()
    assert math.isclose((best - next_best) / 0.01, first - second, rel_tol=1e-4)  # by which `gap` weighs
    assert gap_loss(student, labels, temperature=0.01).shape == (7,)


def test_policies_are_mixed_as_they_are():
    """Logits count at temperature 1, beside values that count at 0.01; all policies make a policy."""
    logits = [0.0, 0.0, 0.0, 2.0, 0.0, 0.0]
    both = load_ensemble([Fixed(logits, "policy"), Fixed(B, "policy")], None, "mixture", "pong")
    assert both.kind == "policy"
    mean = (torch.tensor(logits).softmax(0) + torch.tensor(B).softmax(0)) / 2
    torch.testing.assert_close(both.network(SEEN)[0].softmax(0), mean)
    mixed = load_ensemble([Fixed(logits, "policy"), Fixed(B)], None, "mixture", "pong")
    assert mixed.kind == "values"
    mean = (torch.tensor(logits).softmax(0) + (torch.tensor(B) / 0.01).softmax(0)) / 2
    torch.testing.assert_close((mixed.network(SEEN)[0] / 0.01).softmax(0), mean)


def test_a_vote_goes_to_the_action_that_most_want():
    """By weight; where two have as many votes, the mixture's likelier."""
    third = [0.011, 0.01, 0.0, 0.0, 0.0, 0.0]
    assert load_ensemble([Fixed(A), Fixed(B), Fixed(third)], None, "vote", "pong").network(SEEN)[0].argmax() == 0
    assert load_ensemble([Fixed(A), Fixed(B), Fixed(third)], [1, 3, 1], "vote", "pong").network(SEEN)[0].argmax() == 2
    assert load_ensemble([Fixed(A), Fixed(B)], None, "vote", "pong").network(SEEN)[0].argmax() == 2  # surer


@pytest.mark.parametrize(("kind", "temperature"), [("values", 0.01), ("policy", 1.0)])
def test_what_is_learned_of_a_vote_are_its_shares(kind, temperature):
    """The softmax that `kl` compares with gives each action its share of the votes, of values and of policies alike."""
    teacher = load_ensemble([Fixed(A, kind), Fixed(B, kind), Fixed(B, kind)], None, "vote", "pong")
    learned = (teacher.network(SEEN)[0] / temperature).softmax(0)
    torch.testing.assert_close(learned, torch.tensor([1 / 3, 0, 2 / 3, 0, 0, 0]), atol=1e-3, rtol=0)


def test_hours_are_named_by_all_of_them():
    """Members, their order of weights and the way of combining tell hours apart; equal ensembles share theirs."""

    def digest(*answers: list[float], weights: list[float] | None = None, combine: str = "mixture") -> str:
        return load_ensemble([Fixed(answer) for answer in answers], weights, combine, "pong").network.digest

    found = [digest(A, B), digest(A, A), digest(A, B, weights=[1, 2]), digest(A, B, combine="vote"), digest(A, B, B)]
    assert len(set(found)) == len(found)
    assert digest(A, B, weights=[2, 2]) == digest(A, B)


def test_a_run_learns_from_several(workdir, make_teacher):
    """It says how far it agrees with each, names them in its file, and is made again by its config."""
    other = make_teacher("pong")
    options = ["--config", "compress", "--config", "debug", "--data.teacher", f"[pong, {other}]"]
    main(["fit", *options, "--data.combine", "vote", "--run_dir", "run"])
    rows = list(csv.DictReader(Path("run/metrics.csv").read_text().splitlines()))
    columns = [[row[f"train/agreement_{number}"] for row in rows] for number in (0, 1)]
    shares = [[float(share) for share in of if share] for of in columns]
    assert all(len(of) == 2 and all(0 <= share <= 1 for share in of) for of in shares)
    assert load_network("run/student.safetensors")[1]["trained"]["teacher"].startswith("vote of pong, ")
    main(["fit", "--config", "run/config.yaml", "--run_dir", "again"])
    again, first = (load_network(f"{run}/student.safetensors")[0].state_dict() for run in ("again", "run"))
    assert all(torch.equal(again[name], first[name]) for name in first)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"teacher": ["pong", "breakout"]}, "'breakout' plays breakout, not pong; give a network for pong"),
        ({"teacher": ["pong"]}, "teacher is a list of 1; give two or more"),
        ({"teacher": []}, "teacher is a list of 0; give two or more"),
        ({"teacher": ["pong", "pong"], "teacher_weights": [0, 0]}, r"teacher_weights are \[0, 0\]; they must be 2 num"),
        ({"teacher": ["pong", "pong"], "teacher_weights": [1, -1]}, "they must be 2 numbers of 0 or more"),
        ({"teacher": ["pong", "pong"], "teacher_weights": [1]}, "they must be 2 numbers of 0 or more"),
        ({"teacher": "pong", "teacher_weights": [1]}, "but teacher is no list; give several, or null"),
        ({"teacher": ["pong", Fixed([1.0] * 4)]}, "with the 6 legal actions of pong it must be"),
    ],
)
def test_what_is_no_ensemble_is_refused(options, said):
    """Other games or actions, weights that are none, one alone."""
    with pytest.raises(ValueError, match=said):
        ReplayDataModule("pong", **options)


def test_teachers_of_other_rules_are_refused(make_teacher, tmp_path):
    """Who presses FIRE for its player cannot play together with who does not."""
    from distill.weights.files import save_network

    network, header = load_network(make_teacher("pong"))
    save_network(tmp_path / "fire.safetensors", network, {**header, "rules": {"fire_reset": True}})
    with pytest.raises(ValueError, match=r"plays by the paper's rules, .* by FIRE pressed at each life's start"):
        ReplayDataModule("pong", ["pong", str(tmp_path / "fire.safetensors")])
