"""Updates as CUDA graphs: what one asks of a GPU is recorded once, and then replayed.

An update of these networks is some 60 kernels of a few microseconds each; to ask for them one by one takes longer than
they do.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from distill.errors import DistillError
from distill.replay import Rows

WARM_UPS = 3
"""Updates of a kind taken as ever before one is recorded: they make the state of the optimiser, and choose kernels."""


class NotRecordable(DistillError):
    """An update cannot be recorded: it asks the GPU for a number, say."""

    code = 1


class GraphedUpdates:
    """The updates of one optimiser, a graph for each game and size of minibatch.

    Losses and networks are recorded with whatever they take from Python: a number that changes from update to update
    would stay as it was.

    Args:
        optimizer: One that is `recordable`.
        loss: Of a minibatch on the GPU, one number per row.
    """

    def __init__(self, optimizer: Optimizer, loss: Callable[[Any], Float[Tensor, " B"]]) -> None:
        self.optimizer = optimizer
        self._loss = loss
        device = optimizer.param_groups[0]["params"][0].device
        self._stream = torch.cuda.Stream(device)
        # Read by the kernels, where a number would be recorded.
        self._rates = [torch.zeros((), device=device) for _ in optimizer.param_groups]
        self._taken: Counter[tuple[str, int]] = Counter()
        self._recorded: dict[tuple[str, int], Recorded] = {}

    def set_learning_rates(self) -> None:
        """Take over the optimiser's learning rates; asked before the updates of a block."""
        for rate, group in zip(self._rates, self.optimizer.param_groups, strict=True):
            rate.fill_(group["lr"])

    def closure(self, batch: Rows) -> Callable[[], Float[Tensor, ""]]:
        """Make an update into the closure of an optimiser's `step`, which finds no gradients after it.

        So whoever counts steps, or watches them, does so as ever.
        """

        def update() -> Float[Tensor, ""]:
            kind = batch.game, len(batch)
            if kind not in self._recorded and self._taken[kind] < WARM_UPS:
                self._taken[kind] += 1
                return self._aside(batch)
            if kind not in self._recorded:
                self._recorded[kind] = self._record(batch)
            return self._recorded[kind].replay(batch)

        return update

    def _update(self, batch: Rows) -> Float[Tensor, ""]:
        torch.clear_autocast_cache()  # of rounded weights, see `PolicyModule._step`
        loss = self._loss(batch).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        torch.clear_autocast_cache()
        return loss.detach()

    def _aside(self, batch: Rows) -> Float[Tensor, ""]:
        present = torch.cuda.current_stream()
        self._stream.wait_stream(present)
        with torch.cuda.stream(self._stream), self._recordable():
            loss = self._update(batch)
        present.wait_stream(self._stream)
        return loss

    def _record(self, batch: Rows) -> "Recorded":
        rows, graph = batch.to(copy=True), torch.cuda.CUDAGraph()
        # On a stream where nothing was multiplied yet: so cuBLAS makes its workspace in the graph's own memory; that of
        # another stream goes when any Trainer ends, and with it the graph. And another thread may be playing here.
        stream, errors = torch.cuda.Stream(self._stream.device), "thread_local"
        try:
            with self._recordable(), torch.cuda.graph(graph, stream=stream, capture_error_mode=errors):
                loss = self._update(rows)
        except RuntimeError as error:
            raise NotRecordable(str(error).partition("\n")[0]) from error
        return Recorded(graph, rows, loss)

    @contextmanager
    def _recordable(self) -> Iterator[None]:
        before = [(group["lr"], group["capturable"]) for group in self.optimizer.param_groups]
        for rate, group in zip(self._rates, self.optimizer.param_groups, strict=True):
            group["lr"], group["capturable"] = rate, True
        try:
            yield
        finally:
            for (rate, capturable), group in zip(before, self.optimizer.param_groups, strict=True):
                group["lr"], group["capturable"] = rate, capturable


class Recorded:
    """A graph, what it reads, and the loss that it writes."""

    def __init__(self, graph: torch.cuda.CUDAGraph, rows: Rows, loss: Float[Tensor, ""]) -> None:
        self._graph, self._rows, self._loss = graph, rows, loss

    def replay(self, batch: Rows) -> Float[Tensor, ""]:
        """Take the update on another minibatch, of the same kind; return its loss."""
        for name, tensor in vars(self._rows).items():
            if isinstance(tensor, Tensor):
                tensor.copy_(getattr(batch, name))
        self._graph.replay()
        return self._loss.clone()


def recordable(optimizer: Optimizer) -> bool:
    """Return whether an optimiser's steps can be recorded: it is fused, has its state on the GPU, and is capturable."""
    return all(
        group.get("fused") and "capturable" in group and all(weights.is_cuda for weights in group["params"])
        for group in optimizer.param_groups
    )
