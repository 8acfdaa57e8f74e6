"""The same network as others would write and ask it: in plain PyTorch, and by ONNX Runtime as it comes."""

import numpy as np
import onnxruntime
import torch
from torch import nn

from distill.engine import SessionPolicy, device_of, onnx_model
from distill.networks import DQN
from distill.rollout import Policy


def plain_network(network: DQN) -> nn.Sequential:
    """Return a network of PyTorch's own layers with the same weights, on the same device; its pixels are 0 to 1."""
    first, second, third, hidden = network.widths
    plain = nn.Sequential(
        nn.Conv2d(4, first, 8, stride=4),
        nn.ReLU(),
        nn.Conv2d(first, second, 4, stride=2),
        nn.ReLU(),
        nn.Conv2d(second, third, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(third * 49, hidden),
        nn.ReLU(),
        nn.Linear(hidden, network.num_actions),
    )
    weights = zip(plain.state_dict(), network.state_dict().values(), strict=True)
    plain.load_state_dict(dict(weights))
    return plain.to(device_of(network))


def policies(network: DQN) -> dict[str, Policy]:
    """Return a network's rival policies in float32, by name."""
    return {
        "PyTorch NCHW": _by_pytorch(network, torch.contiguous_format),
        "PyTorch channels last": _by_pytorch(network, torch.channels_last),
        "ONNX Runtime": _onnx_policy(network),
    }


def _by_pytorch(network: DQN, memory_format: torch.memory_format) -> Policy:
    plain, device = plain_network(network).to(memory_format=memory_format), device_of(network)  # type: ignore[call-overload]

    @torch.inference_mode()
    def policy(observations: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(observations).to(device).float() / 255
        return plain(pixels.contiguous(memory_format=memory_format)).cpu().numpy()

    return policy


def _onnx_policy(network: DQN) -> Policy:
    """Ask it with its own settings, but for as many threads as PyTorch has."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    model = onnx_model(network).SerializeToString()
    return SessionPolicy(onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]))
