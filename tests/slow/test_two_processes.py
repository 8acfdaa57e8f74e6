"""Two processes on the CPU, by torchrun, too: one student, different play, scores of all episodes, exact resume.

pytest -n 0 -m slow -s tests/slow
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from forked import fork
from lightning.fabric.utilities.rank_zero import rank_zero_only

from distill.cli import main
from distill.files.store import unseal
from distill.hours.hour import Hour
from distill.runs.checkpoints import Checkpoints
from distill.weights.digests import digest
from distill.weights.load import load_network

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),  # no other thread works while these run
]
ARGS = ["--config", "conf/compress.yaml", "--config", "conf/debug.yaml", "--model.network=net3"]
ARGS += ["--data.hour_steps=240", "--data.eval_episodes=3", "--data.max_frames=400", "--trainer.max_epochs=3"]
ARGS += ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]


def start(rank: int, port: int, args: list[str]) -> int:
    """Begin one of two processes; return its number."""

    def work() -> None:
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2}
        where |= {"LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "none"}
        os.environ.update({name: str(value) for name, value in where.items()})
        rank_zero_only.rank = rank
        wrapped = Checkpoints.on_train_epoch_end

        def note(self, trainer, module):
            Path(f"{trainer.current_epoch}-{rank}.weights").write_text(digest(module.network))
            wrapped(self, trainer, module)

        Checkpoints.on_train_epoch_end = note
        main(["fit", *args])

    return fork(Path(f"rank{rank}.log"), work)


def both(args: list[str], stop_after: str = "") -> list[int]:
    """Run both to their ends; ask both to stop once a file is there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [start(rank, port, args) for rank in (0, 1)]
    if stop_after:
        while not Path(stop_after).is_file():
            time.sleep(0.05)
        for child in children:
            os.kill(child, signal.SIGTERM)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def logs() -> str:
    return "\n".join(Path(f"rank{rank}.log").read_text()[-3000:] for rank in (0, 1))


def test_two_processes_are_one_run(workdir, capsys):
    """They hold the same weights after each hour, play differently, score all episodes, and go on exactly."""
    torch.set_num_threads(1)
    assert both([*ARGS, "--run_dir", "whole"]) == [0, 0], logs()
    for hour in range(3):
        one, other = (Path(f"{hour}-{rank}.weights") for rank in (0, 1))
        assert one.read_text() == other.read_text()
        other.unlink()
    files = sorted(Path("whole/hours").glob("pong-0000-*.hour"))
    one, other = (Hour.from_bytes(unseal(file.read_bytes())).steps for file in files)
    assert (one.actions != other.actions).any()
    scored = json.loads(Path("whole/scores.json").read_text())["student"]
    main(["validate", "--ckpt_path", "whole/checkpoints/last.ckpt", "--trainer.devices=1", "--trainer.strategy=auto"])
    assert f"pong: {scored['mean']:.1f} (" in capsys.readouterr().out
    assert scored["episodes"] == 3
    codes = both([*ARGS, "--run_dir", "parts"], stop_after="0-1.weights")
    assert codes == [143, 143], logs()
    assert "resume with: python -m distill fit --resume parts" in Path("rank0.log").read_text()
    assert both(["--resume", "parts"]) == [0, 0], logs()
    assert_equal_students("whole", "parts")


def test_where_one_stops_all_stop(workdir, monkeypatch):
    """A callback that ends the run in one process only ends it in all, after the same hour."""
    code = """
import lightning as L

class Second(L.Callback):
    def on_train_epoch_end(self, trainer, student):
        trainer.should_stop = trainer.should_stop or (trainer.global_rank == 1 and trainer.current_epoch == 1)
"""
    Path("stopping.py").write_text(code)
    monkeypatch.syspath_prepend(workdir)
    assert both([*ARGS, "--run_dir", "run", "--trainer.callbacks+=stopping.Second"]) == [0, 0], logs()
    assert load_network("run/student.safetensors")[1]["trained"]["hours"] == 2


def test_torchrun_starts_and_stops_them(workdir):
    """By torchrun itself, too: stopped and resumed, it ends with the same student."""
    assert torchrun(*ARGS, "--run_dir", "whole").wait() == 0, Path("torchrun.log").read_text()
    run = torchrun(*ARGS, "--run_dir", "parts")
    while not Path("parts/checkpoints/last.ckpt").is_file():
        assert run.poll() is None, Path("torchrun.log").read_text()
        time.sleep(0.05)
    run.terminate()
    assert run.wait() != 0
    assert "resume with: python -m distill fit --resume parts" in Path("torchrun.log").read_text()
    assert torchrun("--resume", "parts").wait() == 0, Path("torchrun.log").read_text()
    assert_equal_students("whole", "parts")


def torchrun(*args: str) -> subprocess.Popen:
    """Start `fit` in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "distill"]
    one_thread_each = {**os.environ, "OMP_NUM_THREADS": "1"}
    with Path("torchrun.log").open("wb") as log:
        return subprocess.Popen([*command, "fit", *args], stdout=log, stderr=log, env=one_thread_each)


def assert_equal_students(*runs: str) -> None:
    one, other = (load_network(f"{run}/student.safetensors")[0].state_dict() for run in runs)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
