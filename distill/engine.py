"""How a network answers while it plays: by ONNX Runtime on a CPU, by PyTorch everywhere else.

For 30 observations the full network takes ONNX Runtime a third to a half of the time that it takes PyTorch. And its
answer to an observation has the same bits whatever other observations it is asked about at once, on however many
threads; a test holds that.
"""

import itertools
from contextlib import nullcontext
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import nn

from distill.networks import DQN, evaluating
from distill.rollout import Policy

if TYPE_CHECKING:
    import onnx
    import onnxruntime

INPUT_NAME, OUTPUT_NAME = "observations", "scores"
OPSET, IR_VERSION = 17, 8
"""Of ONNX; all runtimes since 2022 read them."""


def frozen_policy(network: nn.Module, dtype: torch.dtype = torch.float32, *, num_threads: int | None = None) -> Policy:
    """Return a policy with a network's present weights, by the fastest engine for it.

    Args:
        network: Maps uint8 observations `[B, 4, 84, 84]` to one number per action. It must not learn while it plays.
        dtype: `torch.float32`, or `torch.bfloat16` for mixed precision.
        num_threads: Threads of an answer on the CPU; None means as many as PyTorch has.
    """
    if _by_onnx_runtime(network, dtype):
        return SessionPolicy(open_session(onnx_model(network).SerializeToString(), num_threads))
    return module_policy(network, dtype)


def engine_of(network: nn.Module) -> str:
    """Return the name of the engine behind `frozen_policy` in float32; equal engines give equal bits on one machine."""
    if _by_onnx_runtime(network, torch.float32):
        return f"onnxruntime {version('onnxruntime')}"
    return f"torch {torch.__version__} {device_of(network).type}"


def _by_onnx_runtime(network: nn.Module, dtype: torch.dtype) -> TypeGuard[DQN]:
    # Of a subclass it is not known what `forward` does.
    return type(network) is DQN and dtype == torch.float32 and device_of(network).type == "cpu"


def module_policy(network: nn.Module, dtype: torch.dtype | None = torch.float32) -> Policy:
    """Return a policy that asks a module, with the weights it has at the time, wherever it is, without gradients.

    Args:
        network: Maps uint8 observations `[B, 4, 84, 84]` to one number per action.
        dtype: `torch.float32`, or `torch.bfloat16` for mixed precision; None leaves it to the context of the call.
    """

    @torch.inference_mode()
    def policy(observations: np.ndarray) -> np.ndarray:
        device = device_of(network)
        seen = torch.from_numpy(observations).to(device)
        mixed = torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)
        with evaluating(network), nullcontext() if dtype is None else mixed:
            return network(seen).float().cpu().numpy()

    return policy


def device_of(network: nn.Module) -> torch.device:
    """Return the device of a network, by any tensor of it."""
    return next(itertools.chain(network.parameters(), network.buffers())).device


class SessionPolicy:
    """A policy that asks ONNX Runtime; any number of threads may ask it at once.

    Args:
        session: See `open_session`.
    """

    def __init__(self, session: "onnxruntime.InferenceSession") -> None:
        self._session = session

    def __call__(self, observations: UInt8[np.ndarray, "N 4 84 84"]) -> Float32[np.ndarray, "N A"]:
        """Return a number for each observation and action."""
        return self._session.run([OUTPUT_NAME], {INPUT_NAME: np.ascontiguousarray(observations)})[0]


def open_session(model: bytes, num_threads: int | None = None) -> "onnxruntime.InferenceSession":
    """Load an ONNX model for the CPU, with as many threads as PyTorch has or as many as given."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads or torch.get_num_threads()
    # Threads that wait by spinning take the cores from the emulators that step in between.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def onnx_model(network: DQN) -> "onnx.ModelProto":
    """Return a network as an ONNX model, in float32, for any number of uint8 observations."""
    from onnx import TensorProto, helper, numpy_helper

    weights: list[Any] = []
    nodes: list[Any] = []

    def constant(name: str, tensor: torch.Tensor) -> str:
        weights.append(numpy_helper.from_array(tensor.detach().cpu().float().numpy(), name))
        return name

    def add(kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def layer(name: str, x: str, divisor: int = 1) -> str:
        of = network.get_submodule(name)
        assert isinstance(of, nn.Conv2d | nn.Linear)
        assert of.bias is not None
        inputs = x, constant(f"{name}.weight", of.weight / divisor), constant(f"{name}.bias", of.bias)
        if isinstance(of, nn.Linear):
            return add("Gemm", name, *inputs, transB=1)
        return add("Conv", name, *inputs, kernel_shape=of.kernel_size, strides=of.stride)

    x = add("Cast", "pixels", INPUT_NAME, to=TensorProto.FLOAT)
    x = add("Relu", "relu1", layer("conv1", x, divisor=255))
    x = add("Relu", "relu2", layer("conv2", x))
    x = add("Relu", "relu3", layer("conv3", x))
    x = add("Relu", "relu4", layer("fc1", add("Flatten", "flat", x, axis=1)))
    if network.controller is not None:
        x = add("Relu", "relu5", layer("controller", x))
    for number in range(len(network.more)):
        x = add(network.activation.capitalize(), f"activation{number}", layer(f"more.{number}", x))
    x = layer("out", x)
    if network.atoms is not None:
        shape = numpy_helper.from_array(np.array([0, network.num_actions, len(network.atoms)]), "shape")
        weights.append(shape)
        x = add("Softmax", "probabilities", add("Reshape", "logits", x, "shape"), axis=2)
        x = add("MatMul", "means", x, constant("atoms", network.atoms))
    add("Identity", OUTPUT_NAME, x)
    graph = helper.make_graph(
        nodes,
        "dqn",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["batch", 4, 84, 84])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["batch", network.num_actions])],
        weights,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="distill")
