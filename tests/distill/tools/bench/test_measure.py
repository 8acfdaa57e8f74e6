"""The benchmark, shrunken: it runs, its figures are those that were measured, and a mistake is one line."""

import json
import sys

import pytest

from distill.cli import main
from distill.precision import native_bf16
from distill.tools.bench import measure as bench
from distill.tools.bench import turns
from distill.tools.bench.tables import GOALS, Goal


@pytest.fixture
def shrunken(monkeypatch) -> None:
    """Leave every part no time, so that each does the least, but leave none out; have few environments."""
    monkeypatch.setattr(bench, "NUM_ENVS", {"cpu": 4, "cuda": 4})
    monkeypatch.setattr(bench, "PART_SECONDS", dict.fromkeys(bench.PART_SECONDS, 0.0))
    monkeypatch.setattr(turns, "LATEST_SECONDS", float("inf"))


@pytest.mark.slow
def test_it_measures_this_machine(workdir, make_teacher, monkeypatch, capsys, shrunken):
    """The command prints a table and writes the figures, with one round each ratio being that of the rates it names."""
    main(["bench", "--teacher", make_teacher("pong", "dqn"), "--json", "figures.json"])
    figures = json.loads((workdir / "figures.json").read_text())
    rates = {name: rate["median"] for name, rate in figures["rates"].items()}
    fastest = max(rate for name, rate in rates.items() if name.startswith("pass"))
    assert {"pass, ours", "pass, PyTorch NCHW", "pass, PyTorch channels last", "pass, ONNX Runtime"} <= set(rates)
    assert rates["play, ceiling"] == pytest.approx(1 / (1 / rates["play, environment"] + 1 / fastest))
    assert figures["play_over_ceiling"] == pytest.approx(rates["play, ours"] / rates["play, ceiling"])
    for network in ("dqn", "net1", "net2", "net3"):
        assert figures["fit_over_bare"][network] == pytest.approx(rates[f"{network}, fit"] / rates[f"{network}, bare"])
    assert 100 < figures["bytes_per_state"] < 1881  # 56,448 / 30
    assert "play_over_sb3" not in figures
    shown = capsys.readouterr().out
    assert shown.startswith(figures["machine"])
    assert "hours/h" in shown
    assert bool(figures["fit_bf16_over_plain"]) == native_bf16()
    assert ("left out: bf16-mixed, since this CPU has no native bfloat16" in shown) == (not native_bf16())


def test_without_native_bf16_its_parts_are_left_out():
    """No part is measured in it, whatever else is."""
    assert any("bf16" in part for part in bench.parts_of(bf16=True, peers=False, on_gpu=False))
    assert not any("bf16" in part for part in bench.parts_of(bf16=False, peers=True, on_gpu=False))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_it_measures_peers(workdir, capsys, shrunken):
    """With `--peers` every ratio that has a goal is there, of both buffered games where it is of games."""
    pytest.importorskip("sb3_extra_buffers")
    main(["bench", "--peers", "--json", "figures.json"])
    figures = json.loads((workdir / "figures.json").read_text())
    assert all(figures.get(goal.key) for goal in GOALS if "bf16" not in goal.key)
    for key in ("bytes_extra_over_ours", "sample_over_extra"):
        assert set(figures[key]) == {"pong", "ms_pacman"}
    assert figures["left_out"] in ([], ["bf16-mixed, since this CPU has no native bfloat16"])


def test_goals_are_judged():
    """A goal is a bound from below, unless it says otherwise, and may be of some networks alone."""
    assert Goal("", "", 0.9).verdict(0.9) == ("at least 0.9", "met")
    assert Goal("", "", 0.9).verdict(0.89) == ("at least 0.9", "missed")
    assert Goal("", "", 0.1, at_most=True).verdict(0.2) == ("at most 0.1", "missed")
    assert Goal("", "", 1.5, of=("dqn",)).verdict(1.0, "net1") == ("", "")
    assert Goal("", "", None).verdict(1.0) == ("", "")


def test_another_teacher_than_the_full_network_is_refused(workdir, make_teacher, capsys):
    """What it is compared with has the layers of `dqn`; one line says so."""
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--teacher", make_teacher("pong", "net3")])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_missing_peer_is_named(monkeypatch, capsys):
    """Without one of them, `--peers` says in one line which, and how to install it."""
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)  # as if it were not installed
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--peers"])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "stable_baselines3" in said
