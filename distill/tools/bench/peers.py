"""Stable-Baselines3 at the same work: the rival that most people would use instead."""

import warnings
from typing import TYPE_CHECKING

from distill import protocol
from distill.networks import DQN
from distill.tools.bench.turns import rate_of

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecFrameStack


class StableBaselines3:
    """Its DQN: the `predict` loop over 8 environments, the replay buffer, and `evaluate_policy`.

    Args:
        game: ALE name.
        network: Whose weights it plays with, of the layers of `dqn`.

    Raises:
        ImportError: where it is not installed.
    """

    num_envs = 8

    def __init__(self, game: str, network: DQN) -> None:
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
        self.model.q_net.load_state_dict(
            {f"{theirs}.{name}": of for theirs, ours in layers.items() for name, of in ours.state_dict().items()}
        )
        self.seen = self.envs.reset()

    def _environments(self, num_envs: int, max_frames: int = protocol.MAX_FRAMES) -> "VecFrameStack":
        from stable_baselines3.common.env_util import make_atari_env
        from stable_baselines3.common.vec_env import VecFrameStack

        name = "".join(word.capitalize() for word in self.game.split("_"))
        limit = {"max_num_frames_per_episode": max_frames}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Its wrappers end an episode with a life, and its evaluation counts on to the game's end.
            envs = make_atari_env(f"{name}NoFrameskip-v4", n_envs=num_envs, env_kwargs=limit)
            return VecFrameStack(envs, n_stack=4)

    def play(self) -> int:
        """Play a step in all environments, and return how many these are."""
        actions, _ = self.model.predict(self.seen)
        seen, *_ = self.envs.step(actions)
        assert not isinstance(seen, tuple)  # as those of some other environments are
        self.seen = seen
        return self.num_envs

    def evaluate(self, seconds: float, max_frames: int) -> float:
        """Score it by `evaluate_policy` with one environment, one episode after the other; return episodes a second."""
        from stable_baselines3.common.evaluation import evaluate_policy

        environment = self._environments(1, max_frames)
        self.model.exploration_rate = protocol.EPSILON  # as we play: a random action makes a game longer

        def episode() -> int:
            evaluate_policy(self.model, environment, n_eval_episodes=1, deterministic=False)
            return 1

        rate = rate_of(episode, seconds)
        self.model.exploration_rate = 0.0
        environment.close()
        return rate

    @property
    def bytes_per_state(self) -> float:
        """What its replay buffer takes for a step: each array that it holds, over its length."""
        buffer = self.model.replay_buffer
        assert buffer is not None  # made with the model
        arrays = (buffer.observations, buffer.next_observations, buffer.actions, buffer.rewards, buffer.dones)
        return sum(array.nbytes for array in arrays) / (buffer.buffer_size * self.num_envs)
