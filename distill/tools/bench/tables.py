"""What `bench` prints: rates, sizes, and how its ratios stand to their goals on the machine at hand."""

from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from distill import protocol


class Goal(NamedTuple):
    """A ratio of two things that were measured, and what it should be."""

    key: str
    """Among the figures: a number, or a number for each network or game."""
    said: str
    bound: float | None
    """None where there is no goal."""
    at_most: bool = False
    of: tuple[str, ...] = ()
    """The networks with that goal; none means all."""

    def verdict(self, value: float, name: str = "") -> tuple[str, str]:
        """Return the goal, and whether it is met, in words; nothing where there is none."""
        if self.bound is None or (self.of and name not in self.of):
            return "", ""
        met = value <= self.bound if self.at_most else value >= self.bound
        return f"{'at most' if self.at_most else 'at least'} {self.bound:g}", "met" if met else "missed"


GOALS = (
    Goal("play_over_ceiling", "play / its ceiling", 0.9),
    Goal("play_over_sb3", "play / Stable-Baselines3", 2.5),
    Goal("fit_over_bare", "fit / bare loop,", 0.95),
    Goal("fit_over_plain", "fit / plain PyTorch,", 1.2),
    Goal("fit_bf16_over_plain", "fit in bf16-mixed / plain PyTorch,", 1.5, of=("dqn",)),
    Goal("sample_over_update", "drawing / update, net3", 0.1, at_most=True),
    Goal("sharing_over_ideal", "four temperatures / one play", 1.05, at_most=True),
    Goal("bytes_sb3_over_ours", "bytes: Stable-Baselines3 / ours", 30),
    Goal("evaluation_over_sb3", "evaluation / Stable-Baselines3", 5),
    Goal("evaluation_bf16_over_sb3", "the same in bf16-mixed", None),
    Goal("bytes_extra_over_ours", "bytes: sb3-extra-buffers / ours,", 2),
    Goal("sample_over_extra", "drawing / sb3-extra-buffers,", 3),
)
"""In the order in which they are shown."""


def print_rates(figures: dict[str, Any]) -> None:
    """Print all figures for people."""
    console = Console(highlight=False)
    console.print(figures["machine"], soft_wrap=True)
    console.print(measured(figures))
    console.print(judged(figures))
    for reason in figures["left_out"]:
        console.print(f"left out: {reason}", soft_wrap=True)


def measured(figures: dict[str, Any]) -> Table:
    """Lay out rates and sizes."""
    rows = Table()
    rows.add_column("")
    for column in ("median", "lowest", "highest", "unit"):
        rows.add_column(column, justify="right")
    buffers: dict[str, dict[str, float]] = figures.get("buffer_bytes", {})
    kinds = {"play": "steps/s", "pass": "ms", **dict.fromkeys(buffers, "minibatches/s")}
    for name, rate in figures["rates"].items():
        unit = "minibatches/s" if "sampling" in name else kinds.get(name.split(",")[0], "updates/s")
        numbers, digits = [rate["median"], rate["low"], rate["high"]], 0
        if unit == "ms":  # of a pass of one observation from each environment
            numbers, digits = [1000 * figures["num_envs"] / numbers[place] for place in (0, 2, 1)], 2
        rows.add_row(name, *(f"{value:,.{digits}f}" for value in numbers), unit)
    rows.add_section()
    frames = figures.get("evaluation_max_frames")
    for name, value, unit in (
        ("memory", figures["bytes_per_state"], "bytes/step"),
        *((f"{game}, {whose}", size, "bytes/step") for game, of in buffers.items() for whose, size in of.items()),
        ("memory", figures["bytes_per_state"] * protocol.STEPS_PER_HOUR / 1e6, "MB/hour"),
        ("disk", figures["disk_bytes_per_hour"] / 1e6, "MB/hour"),
        ("teacher's checkpoint", figures["checkpoint_share"] * 100, "% of time"),
        ("play and learn, net3", figures["hours_an_hour"], "hours/h"),
        ("of that, waiting for play", figures["waits_for_play"] * 100, "% of time"),
        ("the paper's 500 hours, net3", 500 * 60 / figures["hours_an_hour"], "minutes"),
        *([("evaluated episodes, at most", frames, "frames")] if frames else []),
    ):
        rows.add_row(name, f"{value:,.1f}", "", "", unit)
    return rows


def judged(figures: dict[str, Any]) -> Table:
    """Lay out ratios, each with its goal and whether it is met here."""
    rows = Table()
    rows.add_column("")
    for column in ("ratio", "goal", "here"):
        rows.add_column(column, justify="right")
    for row in ratios_of(figures):
        rows.add_row(*row)
    return rows


def ratios_of(figures: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return each ratio's name, value, goal, and whether it is met."""
    rows = []
    for goal in GOALS:
        found = figures.get(goal.key)
        for name, value in found.items() if isinstance(found, dict) else [("", found)]:
            if value is not None:
                rows.append((f"{goal.said} {name}".strip(), f"{value:.2f}", *goal.verdict(value, name)))
    return rows
