"""How long a run still takes, by numbers."""

import pytest

from distill.runs.estimate import Cost, Estimate, scorings_between


def test_a_cost_forgets():
    """Seconds for a unit are a guess, then what was measured, of which the last counts most."""
    cost = Cost(100)
    assert cost.each(7.0) == 7.0
    cost.add(100, 100)
    assert cost.each(7.0) == 1.0
    cost.add(300, 100)
    assert cost.each(7.0) == pytest.approx((50 + 300) / 150)


@pytest.mark.parametrize("overlaps", [False, True])
def test_a_run_is_foreseen(overlaps):
    """Once play, learning and a scoring were measured, what is left is what all that remains will take."""
    estimate = Estimate(hour_steps=100, updates_per_hour=10, overlaps=overlaps)
    estimate.step.add(200, 100)  # 2 a step: an hour of play takes 200 seconds
    estimate.update.add(50, 10)  # an hour of learning 50
    estimate.between.add(3, 1)
    estimate.scoring["student"].add(40, 1)
    estimate.hours_to_play, estimate.updates_left, estimate.hours_left = 2, 25, 2
    estimate.scorings_left = {"student": 2}
    play = 200 - 50 if overlaps else 200
    assert estimate.left == 2 * play + 25 * 5 + 2 * 3 + 2 * 40
    estimate.steps_left = 30
    assert estimate.left == 2 * play + 25 * 5 + 2 * 3 + 2 * 40 + 30 * 2
    estimate.scoring_seconds = 11
    assert estimate.left == 2 * play + 25 * 5 + 2 * 3 + 2 * 40 + 30 * 2 + 11
    if overlaps:
        estimate.waited.add(20, 1)
        assert estimate.seconds_of_play == 20


def test_what_was_not_seen_is_guessed():
    """Before the first step, update and scoring, guesses stand for them; then a scoring is guessed by steps of play."""
    estimate = Estimate(100, 10, step_guess=1, update_guess=2, scoring_steps=50)
    estimate.hours_to_play, estimate.updates_left, estimate.scorings_left = 1, 10, {"student": 1, "teacher": 1}
    assert estimate.left == 100 + 20 + 2 * 50
    estimate.step.add(300, 100)
    estimate.setup_seconds = 4
    assert estimate.left == 300 + 20 + 2 * (4 + 150)
    estimate.scoring["student"].add(5, 1)
    assert estimate.left == 300 + 20 + 5 + 154


@pytest.mark.parametrize(
    ("first", "end", "every", "times"),
    [
        (0, 6, 6, 1),
        (0, 6, 4, 1),
        (4, 8, 4, 1),
        (3, 8, 4, 2),
        (0, 2, 0.5, 4),
        (1, 2, 0.5, 2),
        (0, 5, 0, 0),
        (5, 4, 1, 0),
    ],
)
def test_scorings_are_counted(first, end, every, times):
    """One for every so many hours, from the first hour on; those before are over."""
    assert scorings_between(first, end, every) == times
