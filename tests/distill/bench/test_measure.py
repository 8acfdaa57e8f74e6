"""The benchmark, shrunken: it runs, its figures are those that were measured, and a mistake is one line."""

import json
import sys

import pytest

from distill.bench import measure as bench
from distill.bench.turns import Size
from distill.cli import main


def test_turns_are_taken_one_after_the_other():
    """Every contestant works once a round; the first round does not count; the median and the extremes are kept."""
    order, rates = [], iter(range(100))

    def turn(name: str):
        return lambda: order.append(name) or float(next(rates))

    found = bench.take_turns({"a": turn("a"), "b": turn("b")})
    assert order == ["a", "b"] * (bench.TURNS + 1)
    assert found["a"].turns == (2.0, 4.0, 6.0, 8.0, 10.0)
    assert found["a"].median == 6.0


def test_a_ratio_is_of_turns_that_followed_each_other():
    """A machine that slows down for some rounds changes rates, but no ratio."""
    ours, theirs = bench.Rate((8.0, 8.0, 2.0, 2.0, 2.0)), bench.Rate((4.0, 4.0, 1.0, 1.0, 4.0))
    assert ours.over(theirs) == 2.0


def test_it_measures_this_machine(workdir, make_teacher, monkeypatch, capsys):
    """The command prints a table and writes the figures, with one round each ratio being that of the rates it names."""
    monkeypatch.setattr(bench, "TURNS", 1)
    monkeypatch.setattr(
        bench, "SIZE", Size(play_steps=300, block_updates=2, rounds=1, full_rounds=1, hour_steps=300, hour_blocks=2)
    )
    main(["bench", "--teacher", make_teacher("pong"), "--json", "figures.json"])
    figures = json.loads((workdir / "figures.json").read_text())
    rates = {name: rate["median"] for name, rate in figures["rates"].items()}
    assert figures["play_over_ceiling"] == pytest.approx(rates["play, ours"] / rates["play, bare"])
    for network in ("dqn", "net1", "net2", "net3"):
        assert figures["fit_over_bare"][network] == pytest.approx(rates[f"{network}, fit"] / rates[f"{network}, bare"])
    assert 100 < figures["bytes_per_state"] < 1881  # 56,448 / 30
    assert "play_over_sb3" not in figures
    assert "simulated hours/h" in capsys.readouterr().out


def test_a_missing_peer_is_named(monkeypatch, capsys):
    """Without Stable-Baselines3, `--peers` says in one line how to install it."""
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)  # as if it were not installed
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--peers"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
