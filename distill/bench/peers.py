"""Stable-Baselines3 at the same work: the rival that most people would use instead."""

import time
import warnings
from typing import TYPE_CHECKING

from distill import protocol
from distill.networks import DQN

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecFrameStack


class StableBaselines3:
    """Its DQN: the `predict` loop over 8 environments, the replay buffer, and `evaluate_policy`.

    Args:
        game: ALE name.
        network: Whose weights it plays with.
        steps: Steps of one turn of play, over all environments.

    Raises:
        ImportError: where it is not installed.
    """

    num_envs = 8

    def __init__(self, game: str, network: DQN, steps: int) -> None:
        from stable_baselines3 import DQN as Model

        self.game = game
        self.envs = self._environments(self.num_envs)
        self.model = Model("CnnPolicy", self.envs, buffer_size=800)
        layers = {
            "features_extractor.cnn.0": network.conv1,
            "features_extractor.cnn.2": network.conv2,
            "features_extractor.cnn.4": network.conv3,
            "features_extractor.linear.0": network.fc1,
            "q_net.0": network.out,
        }
        if network.widths != (32, 64, 64, 512):
            raise ValueError(f"the teacher has {network.shape}; Stable-Baselines3's has the layers of dqn")
        self.model.q_net.load_state_dict(
            {f"{theirs}.{name}": of for theirs, ours in layers.items() for name, of in ours.state_dict().items()}
        )
        self.seen = self.envs.reset()
        self.steps = steps

    def _environments(self, num_envs: int) -> "VecFrameStack":
        from stable_baselines3.common.env_util import make_atari_env
        from stable_baselines3.common.vec_env import VecFrameStack

        name = "".join(word.capitalize() for word in self.game.split("_"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Its wrappers end an episode with a life, and its evaluation counts on to the game's end.
            return VecFrameStack(make_atari_env(f"{name}NoFrameskip-v4", n_envs=num_envs), n_stack=4)

    def play(self) -> float:
        """Play, and return steps a second."""
        start = time.perf_counter()
        for _ in range(self.steps // self.num_envs):
            actions, _ = self.model.predict(self.seen)
            seen, *_ = self.envs.step(actions)
            assert not isinstance(seen, tuple)  # as those of some other environments are
            self.seen = seen
        return self.steps / (time.perf_counter() - start)

    def evaluate(self, episodes: int) -> float:
        """Score it by `evaluate_policy` with one environment; return episodes a second."""
        from stable_baselines3.common.evaluation import evaluate_policy

        environment = self._environments(1)
        self.model.exploration_rate = protocol.EPSILON  # as we play: a random action makes a game longer
        start = time.perf_counter()
        evaluate_policy(self.model, environment, n_eval_episodes=episodes, deterministic=False)
        seconds = time.perf_counter() - start
        self.model.exploration_rate = 0.0
        environment.close()
        return episodes / seconds

    @property
    def bytes_per_state(self) -> float:
        """What its replay buffer takes for a step: each array that it holds, over its length."""
        buffer = self.model.replay_buffer
        assert buffer is not None  # made with the model
        arrays = (buffer.observations, buffer.next_observations, buffer.actions, buffer.rewards, buffer.dones)
        return sum(array.nbytes for array in arrays) / (buffer.buffer_size * self.num_envs)
