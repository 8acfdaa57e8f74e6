"""Several runs at once, each with its share of the threads."""

import os

import pytest

from distill.jobs.board import THREADS_VARIABLE, threads_of


@pytest.mark.parametrize(("cores", "runs", "threads"), [(16, 3, "5"), (2, 1, "2"), (2, 2, "1"), (2, 5, "1")])
def test_threads_are_divided(cores, runs, threads, monkeypatch):
    """Each run has its share, rounded down, but one at least; what somebody has set stays."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    monkeypatch.delenv(THREADS_VARIABLE, raising=False)
    assert threads_of(runs) == {THREADS_VARIABLE: threads}
    monkeypatch.setenv(THREADS_VARIABLE, "7")
    assert threads_of(runs) == {THREADS_VARIABLE: "7"}
