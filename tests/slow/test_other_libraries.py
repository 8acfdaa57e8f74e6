"""An agent of another library scores in that library's environments as it does here, by its own rules."""

import numpy as np
import pytest
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecFrameStack

from distill.atari.rules import EnvRules
from distill.evaluation import EvalConfig
from distill.networks import DQN as OurDQN
from distill.weights.load import load_network

pytestmark = pytest.mark.slow
EPISODES = 20
EPSILON = 0.05
LAYERS = {"conv1": "cnn.0", "conv2": "cnn.2", "conv3": "cnn.4", "fc1": "linear.0"}


class EpsilonGreedy:
    """What `evaluate_policy` asks: an agent that now and then draws an action."""

    def __init__(self, agent, actions: int) -> None:
        self.agent, self.actions, self.rng = agent, actions, np.random.default_rng(0)

    def predict(self, observations, state=None, episode_start=None, deterministic=True):
        """Return an action for each observation."""
        chosen, _ = self.agent.predict(observations, deterministic=True)
        drawn = self.rng.integers(self.actions, size=len(chosen))
        return np.where(self.rng.random(len(chosen)) < EPSILON, drawn, chosen), state


def fill(agent, network: OurDQN) -> None:
    """Put the weights of a network of ours into an agent."""
    tensors = {}
    for name in agent.policy.state_dict():
        ours = next((ours for ours, theirs in LAYERS.items() if f".{theirs}." in name), "out")
        tensors[name] = network.get_parameter(f"{ours}.{name.rpartition('.')[2]}")
    agent.policy.load_state_dict(tensors)


@pytest.mark.filterwarnings("ignore")
def test_an_agent_scores_here_as_there(tmp_path):
    """Breakout by Stable-Baselines3's wrapper and `evaluate_policy`, and by ours: no further apart than by chance."""
    environments = VecFrameStack(make_atari_env("BreakoutNoFrameskip-v4", n_envs=8, seed=0), 4)
    agent = DQN("CnnPolicy", environments, buffer_size=10)
    fill(agent, load_network("breakout")[0])
    agent.save(tmp_path / "agent.zip")
    there, _ = evaluate_policy(EpsilonGreedy(agent, 4), environments, EPISODES, return_episode_rewards=True)
    network, header = load_network(str(tmp_path / "agent.zip"), "breakout")
    env = EnvRules.of(header)
    assert env == EnvRules(fire_reset=True, life_loss=True)
    here = EvalConfig("breakout", tuple(range(EPISODES)), 0, EPSILON, env=env).score(network)
    errors = [np.std(scores, ddof=1) / EPISODES**0.5 for scores in (there, here)]
    assert np.mean(here) > 20
    assert abs(np.mean(there) - np.mean(here)) < 3.5 * np.hypot(*errors)
