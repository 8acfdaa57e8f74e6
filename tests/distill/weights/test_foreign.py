"""Teachers of other libraries: what they answer here is what they answer there, and what is none is named."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from sb3_contrib import QRDQN, TRPO, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, PPO
from stable_baselines3 import DQN as StableDQN
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import VecFrameStack
from torch import nn

from distill.atari.rules import EnvRules
from distill.cli import main
from distill.engine import frozen_policy
from distill.networks import DQN
from distill.tools.export import observations_of
from distill.weights.files import save_network
from distill.weights.load import load_network
from distill.weights.onnx_files import open_onnx, to_onnx

SMALL = (4, 4, 4, 8)
"""Widths, of files that are to be refused."""


@pytest.fixture(scope="module")
def observations() -> np.ndarray:
    """1,000 observations of the shipped teacher's Pong."""
    return observations_of(load_network("pong")[0], "pong")


@pytest.fixture(scope="module")
def environments():
    """Pong as Stable-Baselines3 has it: 84 x 84 x 4; by number of actions."""
    made = {
        actions: VecFrameStack(make_atari_env("PongNoFrameskip-v4", env_kwargs={"full_action_space": actions == 18}), 4)
        for actions in (6, 18)
    }
    yield made
    for environment in made.values():
        environment.close()


def awaken(network: nn.Module, head: nn.Linear, answer: Callable[[], torch.Tensor]) -> torch.Tensor:
    """Change an untrained network so that a wrong import shows, and give its answers.

    Weights that were copies of each other become different, and the last layer's outputs vary about 0 with the
    observations by 0.1, so that now this and now that action is best.

    Args:
        network: All of it.
        head: Its last layer.
        answer: Asks it about the observations.
    """
    generator, outputs = torch.Generator().manual_seed(0), []
    with torch.inference_mode():
        for weights in network.parameters():
            weights += 0.02 * torch.randn(weights.shape, generator=generator)
        watch = head.register_forward_hook(lambda module, given, output: outputs.append(output))
        answer()
        watch.remove()
        # What an untrained network says of different observations is nearly the same; the difference of such numbers
        # is exact to about 2e-5 of it.
        spread = 10 * outputs[0].std(dim=0).mean()
        head.weight /= spread
        head.bias.copy_((head.bias - outputs[0].mean(dim=0)) / spread)
        return answer()


def agree(path: Path, theirs: torch.Tensor, observations: np.ndarray, kind: str = "values") -> dict:
    """Compare answers; those of a policy up to what probabilities do not depend on."""
    network, header = load_network(str(path), "pong")
    env = EnvRules.of(header)
    assert network.num_actions == theirs.shape[1] == len(env.actions("pong"))
    with torch.inference_mode():
        ours = network(torch.from_numpy(observations))
    assert len(theirs.argmax(1).unique()) > 2
    chosen = ours.argmax(1)
    if kind == "policy":
        ours, theirs = ours.log_softmax(1), theirs.log_softmax(1)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert (chosen == theirs.argmax(1)).float().mean() > 0.995  # else two are worth the same to the last digits
    assert header["kind"] == kind
    assert tuple(header["actions"]) == env.action_names("pong")
    return header


def parts_of(agent, seen: torch.Tensor) -> tuple[nn.Linear, Callable[[], torch.Tensor]]:
    """Give the last layer of an agent of Stable-Baselines3, and what it acts by."""
    policy = agent.policy
    if isinstance(agent, StableDQN):
        return policy.q_net.q_net[-1], lambda: policy.q_net(seen)
    if isinstance(agent, QRDQN):
        return policy.quantile_net.quantile_net[0], lambda: policy.quantile_net(seen).mean(dim=1)
    return policy.action_net, lambda: policy.get_distribution(seen).distribution.logits


@pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")
@pytest.mark.parametrize(
    ("agent", "actions", "arguments"),
    [
        (StableDQN, 6, {"buffer_size": 10}),
        (QRDQN, 18, {"buffer_size": 10, "policy_kwargs": {"n_quantiles": 20}}),
        (PPO, 18, {"n_steps": 8}),
        (A2C, 6, {"policy_kwargs": {"share_features_extractor": False, "net_arch": {"pi": [], "vf": [8]}}}),
        (A2C, 6, {"policy_kwargs": {"net_arch": [16]}, "use_rms_prop": False}),
        (MaskablePPO, 6, {"n_steps": 8, "policy_kwargs": {"features_extractor_kwargs": {"features_dim": 64}}}),
        (TRPO, 6, {"n_steps": 8, "policy_kwargs": {"net_arch": {"pi": [16, 8], "vf": [4]}, "activation_fn": nn.ReLU}}),
        (StableDQN, 6, {"buffer_size": 10, "policy_kwargs": {"net_arch": [16, 8], "normalize_images": False}}),
    ],
)
def test_stable_baselines3(agent, actions, arguments, environments, observations, tmp_path):
    """An agent of Stable-Baselines3 or its sb3-contrib, saved as it saves, scores and acts here as there."""
    model = agent("CnnPolicy", environments[actions], **arguments)
    theirs = awaken(model.policy.eval(), *parts_of(model, torch.from_numpy(observations)))
    model.save(tmp_path / "agent.zip")
    kind = "values" if agent in (StableDQN, QRDQN) else "policy"
    header = agree(tmp_path / "agent.zip", theirs, observations, kind)
    assert header["imported"]["algorithm"] == {QRDQN: "QR-DQN"}.get(agent, agent.__name__)
    assert EnvRules.of(header) == EnvRules(fire_reset=True, life_loss=True, full_action_set=actions == 18)
    network, _ = load_network(str(tmp_path / "agent.zip"), "pong")
    save_network(tmp_path / "ours.safetensors", network, header)
    agree(tmp_path / "ours.safetensors", theirs, observations, kind)
    played = frozen_policy(network)(observations)
    torch.testing.assert_close(torch.from_numpy(played), network(torch.from_numpy(observations)), atol=1e-4, rtol=1e-4)
    if actions == 6:  # channels last, as its environments give them
        predicted, _ = model.predict(observations.transpose(0, 2, 3, 1), deterministic=True)
        assert np.array_equal(predicted, theirs.argmax(1))


class Single(nn.Module):
    """The network that CleanRL and atari-agents write down in single files, under the names that they give its parts.

    Args:
        library: Whose names.
        actions: Outputs.
        atoms: Of C51, how many.
    """

    def __init__(self, library: str, actions: int, atoms: int | None) -> None:
        super().__init__()
        support = torch.linspace(-10, 10, atoms or 2)
        convolutions = [nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3)]
        linear = [nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, actions * (atoms or 1))]
        if library == "CleanRL":
            self.network = self.whole = nn.Sequential(*convolutions, nn.ReLU(), nn.Flatten(), *linear)
        else:
            parts = nn.Sequential(*convolutions, nn.ReLU()), nn.Sequential(*linear)
            self.add_module("_AtariNet__features", parts[0])
            self.add_module("_AtariNet__head", parts[1])
            self.whole = nn.Sequential(parts[0], nn.Flatten(), parts[1])
        self.head = linear[-1]
        self.actions, self.atoms_name = actions, "atoms" if library == "CleanRL" else "_AtariNet__support"
        if atoms:
            self.register_buffer(self.atoms_name, support)

    def state(self) -> dict[str, torch.Tensor]:
        """Name tensors as the library does."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith(("whole.", "head."))}

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        outputs = self.whole(observations / 255)
        if self.atoms_name not in dict(self.named_buffers()):
            return outputs
        probabilities = outputs.view(len(outputs), self.actions, -1).softmax(dim=2)
        return (probabilities * getattr(self, self.atoms_name)).sum(dim=2)


@pytest.mark.parametrize(
    ("library", "atoms", "actions"),
    [("CleanRL", None, 6), ("CleanRL", 51, 18), ("atari-agents", None, 18), ("atari-agents", 51, 6)],
)
def test_single_file_libraries(library, atoms, actions, observations, tmp_path):
    """DQN and C51 of CleanRL and of atari-agents, saved as they save, score and act here as there."""
    network, path = Single(library, actions, atoms), tmp_path / "agent"
    theirs = awaken(network, network.head, lambda: network(torch.from_numpy(observations)))
    if library == "atari-agents":
        content = io.BytesIO()
        torch.save({"estimator_state": network.state(), "optim_state": {}, "step": 1}, content)
        path.write_bytes(gzip.compress(content.getvalue(), 1))
    elif atoms:
        args = {"env_id": "PongNoFrameskip-v4", "n_atoms": atoms, "v_min": -10, "v_max": 10, "cuda": True}
        torch.save({"model_weights": network.state(), "args": args}, path)
    else:
        torch.save(network.state(), path)
    header = agree(path, theirs, observations)
    known = header["imported"]
    assert (known["library"], known["algorithm"][:3]) == (library, "C51" if atoms else "DQN")
    assert EnvRules.of(header).fire_reset == (library == "CleanRL")
    if library == "CleanRL" and atoms:  # the file says its game
        assert load_network(str(path))[1]["game"] == "pong"


@pytest.fixture
def distributional(tmp_path) -> Path:
    """A small C51 of CleanRL's, which says its game."""
    torch.manual_seed(0)
    path = tmp_path / "c51"
    network = DQN(SMALL, 6, atoms=torch.linspace(-10, 10, 5))
    names = dict(zip(("conv1", "conv2", "conv3", "fc1", "out"), (0, 2, 4, 7, 9), strict=True))
    renamed = {}
    for name, tensor in network.state_dict().items():
        layer, _, part = name.partition(".")
        renamed[f"network.{names[layer]}.{part}" if part else name] = tensor
    torch.save({"model_weights": renamed, "args": {"env_id": "PongNoFrameskip-v4"}}, path)
    return path


def test_a_distributional_network_lives_on_in_our_files(distributional, workdir):
    """Its atoms come back from our file, in half precision too, and its ONNX file gives the same scores."""
    network, header = load_network(str(distributional))
    seen = torch.randint(0, 256, (5, 4, 84, 84), dtype=torch.uint8)
    for dtype, tolerance in ((torch.float32, 0), (torch.float16, 0.05)):
        save_network(workdir / "ours.zip", network, header, dtype)  # whatever it is called
        again, found = load_network("ours.zip")
        assert (found["num_actions"], found["atoms"], again.num_actions) == (6, 5, 6)
        torch.testing.assert_close(again(seen), network(seen), atol=tolerance, rtol=0)
    policy, _ = open_onnx(to_onnx(network, {}))
    np.testing.assert_allclose(policy(seen.numpy()), network(seen), atol=1e-5)


def test_content_tells_what_a_file_is(distributional, make_teacher, workdir):
    """Weight files and checkpoints of ours, and others', are known under any name."""
    ours = Path(make_teacher("pong"))
    network, _ = load_network(str(ours))
    (workdir / "ours.ckpt").write_bytes(ours.read_bytes())
    state = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"hyper_parameters": {"game": "pong"}, "state_dict": state}, "checkpoint.safetensors")
    (workdir / "theirs.safetensors").write_bytes(distributional.read_bytes())
    for name in ("ours.ckpt", "checkpoint.safetensors"):
        assert torch.equal(load_network(name)[0].out.weight, network.out.weight), name
    assert load_network("theirs.safetensors")[1]["imported"]["algorithm"] == "C51"


class Intruder:
    """Unpickling it makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.touch, (self.trace,)


@pytest.fixture(scope="module")
def refused(environments, tmp_path_factory) -> dict[str, Path]:
    """Files that cannot be taken, by what is wrong with them."""
    folder = tmp_path_factory.mktemp("refused")
    torch.manual_seed(0)
    StableDQN("CnnPolicy", environments[6], buffer_size=10).save(folder / "good.zip")
    good = (folder / "good.zip").read_bytes()
    RecurrentPPO("CnnLstmPolicy", environments[6], n_steps=8).save(folder / "recurrent.zip")
    kept = environments[6].action_space
    environments[6].action_space = gymnasium.spaces.MultiBinary(6)
    PPO("CnnPolicy", environments[6], n_steps=8).save(folder / "buttons.zip")
    environments[6].action_space = kept
    elu = {"net_arch": [8], "activation_fn": nn.ELU}
    A2C("CnnPolicy", environments[6], policy_kwargs=elu).save(folder / "elu.zip")
    (folder / "cut.zip").write_bytes(good[:-1000])
    members = {name: zipfile.ZipFile(io.BytesIO(good)).read(name) for name in ("policy.pth", "data")}

    def repack(name: str, **changes: bytes | None) -> None:
        with zipfile.ZipFile(folder / name, "w") as file:
            for member, content in {**members, **{one.replace("__", "."): of for one, of in changes.items()}}.items():
                if content is not None:
                    file.writestr(member, content)

    pickled = io.BytesIO()
    torch.save({"q_net.q_net.0.weight": Intruder(folder / "trace")}, pickled)
    repack("pickle.zip", policy__pth=None, data=None, model__pkl=pickled.getvalue())
    repack("intruder.zip", policy__pth=pickled.getvalue())
    repack("no_json.zip", data=b"{")
    network = Single("CleanRL", 9, None)
    torch.save(network.state(), folder / "nine")
    (folder / "cut.gz").write_bytes(gzip.compress((folder / "nine").read_bytes(), 1)[:1000])
    dueling = {f"{stream}_stream.0.weight": torch.zeros(1) for stream in ("value", "advantage")}
    torch.save(dueling, folder / "dueling")
    first = {**Single("CleanRL", 6, None).state(), "network.0.weight": torch.zeros(32, 1, 8, 8)}
    torch.save(first, folder / "one_frame")
    torch.save([torch.zeros(1)], folder / "list")
    said = json.loads(members["data"])
    with_quantiles = torch.load(io.BytesIO(members["policy.pth"]), weights_only=True)
    renamed = {name.replace("q_net", "quantile_net"): tensor for name, tensor in with_quantiles.items()}
    content = io.BytesIO()
    torch.save(renamed, content)
    three = {**said, "observation_space": {**said["observation_space"], "_shape": [3, 84, 84]}}
    repack("three.zip", data=json.dumps(three).encode())
    repack("quantiles.zip", policy__pth=content.getvalue(), data=json.dumps({**said, "n_quantiles": 4}).encode())
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")
@pytest.mark.parametrize(
    ("name", "game", "reason"),
    [
        ("cut.zip", "pong", "damaged or was cut short"),
        ("cut.gz", "pong", "a gzip file that is damaged or was cut short; allowed are"),
        ("pickle.zip", "pong", "a zip of model.pkl, without policy.pth and data"),
        ("intruder.zip", "pong", "never unpickled here; allowed are"),
        ("no_json.zip", "pong", "whose data is not Stable-Baselines3's"),
        ("recurrent.zip", "pong", "a recurrent network (it has lstm_actor."),
        ("dueling", "pong", "a dueling network (it has advantage_stream.0.weight)"),
        ("elu.zip", "pong", "a Stable-Baselines3 A2C with ELU between its layers; known are ReLU, Tanh"),
        (
            "buttons.zip",
            "pong",
            "a Stable-Baselines3 PPO whose actions are MultiBinary; a game's are Discrete",
        ),
        ("three.zip", "pong", "a Stable-Baselines3 DQN that sees uint8 [3, 84, 84]; here there are uint8 [4, 84, 84]"),
        ("quantiles.zip", "pong", "n_quantiles is 4"),
        ("nine", "pong", "a CleanRL DQN with 9 actions; pong has 6, or 18"),
        ("good.zip", "breakout", "a Stable-Baselines3 DQN with 6 actions; breakout has 4, or 18"),
        ("good.zip", "pongg", "game 'pongg' is unknown; did you mean pong"),
        ("good.zip", None, "does not say what it plays; say which game"),
        ("one_frame", "pong", "conv1.weight is 32x1x8x8; ours would be 32x4x8x8"),
        ("list", "pong", "a list that PyTorch saved, not tensors by name"),
    ],
)
def test_what_cannot_be_taken_is_named(refused, name, game, reason, capsys):
    """One line says which file it is, what is wrong with it, and what is allowed; nothing in it is run."""
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", str(refused[name]), *(["--game", game] if game else [])])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert f"{refused[name]}: " in error
    assert reason in error
    assert error.count("\n") == 1
    assert not (refused["good.zip"].parent / "trace").exists()


def test_a_file_that_says_its_game_plays_no_other(distributional, capsys):
    """A C51 of CleanRL's names its environment."""
    with pytest.raises(SystemExit):
        main(["evaluate", str(distributional), "--game", "breakout"])
    assert "plays pong, not breakout" in capsys.readouterr().err
