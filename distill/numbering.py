"""Which episode comes next, where environments are not all at the same step."""

import threading
from concurrent.futures import CancelledError


class Numbers:
    """Numbers episodes in the order in which they begin: by steps, then by environments.

    Environments may step in groups, each in a thread and at a pace of its own; each is told the numbers that it would
    be told if all stepped together. A group waits where that depends on steps that others have not taken yet.

    Args:
        begun: How many episodes there were before.
        groups: How many groups of environments there are, in the order of their environments.
    """

    def __init__(self, begun: int, groups: int = 1) -> None:
        self._begun = begun
        self._taken = [0] * groups
        self._ends: list[tuple[int, int, int]] = []  # step, group, and how many episodes ended
        self._changed = threading.Condition()
        self._given_up = False

    def took_step(self, group: int, ended: int) -> None:
        """Hear that a group has taken one more step, with which so many of its episodes ended."""
        with self._changed:
            if ended:
                self._ends.append((self._taken[group], group, ended))
            self._taken[group] += 1
            self._changed.notify_all()

    def after_step(self, group: int) -> int:
        """Return the number of the first episode that a group begins after its last step.

        Raises:
            CancelledError: where another group has given up, whose steps would have to be known.
        """
        with self._changed:
            step = self._taken[group] - 1
            self._changed.wait_for(lambda: self._given_up or self._known(step, group))
            if not self._known(step, group):
                raise CancelledError
            # Who ended with the last step of all may not have asked yet.
            settled = [end for end in self._ends if end[0] < min(self._taken) - 1]
            self._begun += sum(ended for _, _, ended in settled)
            self._ends = [end for end in self._ends if end not in settled]
            return self._begun + sum(ended for *when, ended in self._ends if when < [step, group])

    def give_up(self) -> None:
        """Take no more steps; who waits for them need not."""
        with self._changed:
            self._given_up = True
            self._changed.notify_all()

    def _known(self, step: int, group: int) -> bool:
        """Return whether all that ended before, up to a group's environments at a step, is known."""
        return all(taken > step - (other > group) for other, taken in enumerate(self._taken))
