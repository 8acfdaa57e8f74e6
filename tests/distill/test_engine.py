"""How a network answers while it plays: the same as the module, whichever engine it is."""

import numpy as np
import pytest
import torch

from distill.engine import SessionPolicy, engine_of, frozen_policy, module_policy
from distill.networks import DQN, build


def network(kind: str) -> DQN:
    torch.manual_seed(0)
    if kind == "multi3":
        return build("multi3", num_actions={"pong": 6, "breakout": 4}).for_game("pong")
    if kind == "atoms":
        return DQN((16, 16, 16, 64), 4, atoms=torch.linspace(-10, 10, 51))
    return build(kind, num_actions=18)


def observations(number: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, 4, 84, 84), np.uint8)


@pytest.mark.parametrize("kind", ["dqn", "net3", "net5", "multi3", "atoms"])
def test_an_answer_depends_on_the_observation_alone(kind):
    """On a CPU an answer is the module's up to rounding, and has the same bits in any company, on any threads."""
    one, seen = network(kind), observations(31)
    policy = frozen_policy(one, num_threads=2)
    assert isinstance(policy, SessionPolicy)
    answers = policy(seen)
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, module_policy(one)(seen), rtol=1e-4, atol=1e-5)
    for first, last in [(0, 1), (5, 6), (0, 2), (3, 10), (7, 23), (1, 31)]:
        assert np.array_equal(policy(seen[first:last]), answers[first:last])
    assert np.array_equal(frozen_policy(one, num_threads=1)(seen), answers)


def test_a_frozen_policy_keeps_the_weights_that_it_was_made_of():
    """What a network learns later changes what a module's policy answers, and not what a frozen one does."""
    one, seen = network("net3"), observations(3)
    frozen, present = frozen_policy(one), module_policy(one)
    before = frozen(seen), present(seen)
    with torch.no_grad():
        one.out.bias += 1
    assert np.array_equal(frozen(seen), before[0])
    np.testing.assert_allclose(present(seen), before[1] + 1, atol=1e-5)


def test_a_policy_is_what_it_says_in_any_surroundings():
    """In float32, where mixed precision is on around it; as in evaluation, though the network is learning."""
    one, seen = network("net3"), observations(8)
    alone = module_policy(one)(seen)
    with torch.autocast("cpu", torch.bfloat16):
        assert np.array_equal(module_policy(one)(seen), alone)
        mixed = module_policy(one, dtype=None)(seen)
    assert not np.array_equal(mixed, alone)
    assert np.array_equal(frozen_policy(one, torch.bfloat16)(seen), mixed)
    learning = torch.nn.Sequential(one, torch.nn.Dropout(0.5))
    learning[0].eval()
    assert np.array_equal(frozen_policy(learning)(seen), alone)
    assert [learning.training, learning[0].training, learning[1].training] == [True, False, True]


def test_a_network_of_ones_own_is_asked_itself():
    """A subclass may have another `forward`, which ONNX Runtime would not know."""

    class Doubled(DQN):
        def forward(self, observations, game=""):
            return 2 * super().forward(observations, game)

    torch.manual_seed(0)
    own, seen = Doubled((4, 4, 4, 16), 6), observations(2)
    assert engine_of(own).startswith("torch")
    assert engine_of(network("net5")).startswith("onnxruntime")
    with torch.inference_mode():
        assert np.array_equal(frozen_policy(own)(seen), own(torch.from_numpy(seen)).numpy())
