"""Numbers that change with simulated time."""

import pytest

from distill.schedule import Schedule


@pytest.mark.parametrize(("hour", "expected"), [(0, 0.9), (1, 0.9), (2, 0.5), (3, 0.1), (9, 0.3), (15, 0.5), (99, 0.5)])
def test_linear_between_points(hour, expected):
    """Between points it is linear, outside them constant."""
    schedule = Schedule.of([(1, 0.9), (3, 0.1), (15, 0.5)])
    assert schedule.at(hour) == pytest.approx(expected)


def test_a_number_is_constant():
    """One number holds at all hours."""
    assert [Schedule.of(0.05).at(hour) for hour in (0, 0.5, 1000)] == [0.05] * 3


@pytest.mark.parametrize("points", [[], [(-1, 0.5)], [(2, 0.1), (1, 0.2)], [(2, 0.1), (2, 0.2)]])
def test_hours_must_ascend(points):
    """Without points, or with hours before 0 or out of order, it says what is allowed."""
    with pytest.raises(ValueError, match="ascend from 0 on"):
        Schedule.of(points)
