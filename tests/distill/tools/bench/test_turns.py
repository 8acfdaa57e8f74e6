"""Turns, ratios and time: rivals alternate, and a part for which no time is left is left out."""

import itertools

from distill.tools.bench import turns
from distill.tools.bench.turns import Budget, Rate, Turn, rate_of, take_turns


def begun(parts: dict[str, float]) -> Budget:
    budget = Budget(parts)
    budget.begin(next(iter(parts)), needed=True)
    return budget


def test_turns_are_taken_one_after_the_other():
    """Every contestant works once a round, in opposite orders; with no time left one round counts, after one."""
    order = []

    def turn(name: str) -> Turn:
        return Turn(lambda: order.append(name) or 1)

    found = take_turns({"a": turn("a"), "b": turn("b")}, begun({"all": 0.0}))
    assert order == ["a", "b", "b", "a"]
    assert [len(rate.turns) for rate in found.values()] == [1, 1]


def test_with_time_left_all_rounds_are_counted(monkeypatch):
    """As long as the part's time is not over, each is measured in `ROUNDS` rounds."""
    monkeypatch.setattr(Budget, "is_over", False)
    found = take_turns({"a": Turn(lambda: 1), "b": Turn(lambda: 2)}, begun({"all": 0.0}))
    assert [len(rate.turns) for rate in found.values()] == [turns.ROUNDS] * 2


def test_a_rate_counts_what_was_done(monkeypatch):
    """Work goes on until the time is over, and is divided by the time that it took."""
    monkeypatch.setattr(turns.time, "perf_counter", itertools.count(0.0, 0.5).__next__)
    assert rate_of(lambda: 3, seconds=2.0) == 3 * 4 / 2.0


def test_a_ratio_is_of_turns_that_followed_each_other():
    """A machine that slows down for some rounds changes rates, but no ratio."""
    ours, theirs = Rate((8.0, 8.0, 2.0, 2.0, 2.0)), Rate((4.0, 4.0, 1.0, 1.0, 4.0))
    assert ours.over(theirs) == 2.0


def test_a_part_that_took_longer_takes_from_those_after_it(monkeypatch):
    """What is left is shared out among the parts that are left, but none gets more than it was to have."""
    clock = iter([0.0, 0.0, 10.0, 40.0])
    monkeypatch.setattr(turns.time, "monotonic", lambda: next(clock))
    budget = Budget({"a": 20.0, "b": 20.0, "c": 10.0})
    shares = []
    for part in "abc":
        budget.begin(part)
        shares.append(budget.seconds)
    assert shares == [20.0, 20.0, 10.0]
    clock = iter([0.0, 0.0, 35.0, 60.0])
    budget = Budget({"a": 20.0, "b": 20.0, "c": 10.0})
    shares = []
    for part in "abc":
        budget.begin(part)
        shares.append(budget.seconds)
    assert shares == [20.0, 10.0, 0.0]


def test_what_is_too_late_is_left_out(monkeypatch):
    """A part that is not needed does not begin after the latest second, and is named; one that is needed does."""
    monkeypatch.setattr(turns, "LATEST_SECONDS", -1.0)
    budget = Budget({"a": 1.0, "b": 1.0})
    assert budget.begin("a", needed=True)
    assert not budget.begin("b")
    assert not budget.begin("not a part")
    assert budget.too_late == ["b"]


def test_off_a_terminal_a_line_says_where_it_is(monkeypatch, capsys):
    """The line has the part, its number, and the number of parts."""
    monkeypatch.setattr(turns, "TELL_SECONDS", 0.01)
    monkeypatch.setenv("DISTILL_LINE_SECONDS", "0")
    written = ""
    with Budget({"play": 1.0, "evaluation": 1.0}) as budget:
        budget.begin("evaluation", needed=True)
        while written.count("\n") < 3:
            written += capsys.readouterr().err
    assert "part 2 of 2, evaluation" in written.splitlines()[-1]
