"""`OnlineSwap`: the best network so far of a teacher that is still learning takes over the labelling."""

import sys
import time
from pathlib import Path
from typing import Any, Literal

import lightning as L

from distill import checks
from distill.data import ReplayDataModule
from distill.errors import DistillError
from distill.module import PolicyModule
from distill.weights.best import FOLDER, Entry, Index, read_index, read_network
from distill.weights.callables import Teacher


class OnlineSwap(L.Callback):
    """Distils a teacher while it learns (section 4.4 of the paper), on one clock of simulated hours.

    After the student's hour h the labelling passes to the best-scored network of the teacher's hour h or before, if it
    is better than the present one; labels change with the student's next hour. Where the teacher's run is behind, the
    student waits for it. The outcome is the same bits whether the two run side by side or one after the other.

    The data module's `teacher` must be the same folder; hours are not played ahead, whatever its `overlap`.

    Args:
        teacher_run: Folder of the teacher's run; its `model.score_every_hours` is set.
        former: What becomes of the hours that a former teacher labelled: `keep` them in the memory until they are too
            old, or `flush` them at once. The paper does not say.
        patience_minutes: How long the teacher's run may make no progress before it counts as dead; above 0.
        poll_seconds: How often its index is looked at while the student waits; above 0.
    """

    def __init__(
        self,
        teacher_run: str,
        former: Literal["keep", "flush"] = "keep",
        patience_minutes: float = 60.0,
        poll_seconds: float = 1.0,
    ) -> None:
        checks.above_zero(patience_minutes=patience_minutes, poll_seconds=poll_seconds)
        self.run = Path(teacher_run)
        self.former = former
        self.patience_minutes = patience_minutes
        self.poll_seconds = poll_seconds
        self.swaps: list[tuple[int, int]] = [(0, 0)]
        """From which hour of the student's the network of which hour of the teacher's labels."""
        self._clock = 0

    def check_run(self, model: PolicyModule) -> None:
        """Refuse a student of several games; the command line asks before the run begins."""
        if len(model.games) > 1:
            raise DistillError(f"OnlineSwap follows one teacher; the student has {len(model.games)} games")

    def state_dict(self) -> dict[str, Any]:
        """Keep who labelled when."""
        return {"swaps": self.swaps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load who labelled when."""
        self.swaps = [tuple(swap) for swap in state_dict["swaps"]]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Have no hour played before it is known who labels it; where the run goes on, hand over again as before."""
        data = ReplayDataModule.of(trainer)
        (game,) = data.games
        teacher = data.teachers.get(game)
        if teacher is None or Path(teacher.name) != self.run:
            named = None if teacher is None else teacher.name
            raise DistillError(f"data.teacher is {named}; for OnlineSwap it must be teacher_run, {self.run}")
        data.experiences[game].source.overlap = False
        index = self._read(trainer)
        for hour, teachers_hour in self.swaps[1:]:
            self._hand_over(trainer, hour, index.best(teachers_hour))
        hours = trainer.current_epoch
        if (
            hours > self.swaps[-1][0]
        ):  # after its last hour a run hands over nothing; here it may have got further hours
            self._swap(trainer, hours, self._wait_for(hours, trainer))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Hand the labelling over, if the teacher has become better."""
        hours = trainer.current_epoch + 1
        last = hours == trainer.max_epochs
        index = self._read(trainer) if last else self._wait_for(hours, trainer)
        entry = index.best(self.swaps[-1][1])
        pl_module.log("online/teachers_hour", float(entry.hour))
        pl_module.log("online/teachers_score", entry.score)
        if not last:
            self._swap(trainer, hours, index)

    def _swap(self, trainer: L.Trainer, hours: int, index: Index) -> None:
        """Hand over after so many hours, if the teacher is better than the one who labels."""
        better = index.best(hours)
        if better.hour > index.best(self.swaps[-1][1]).hour:
            self.swaps.append((hours, better.hour))
            self._hand_over(trainer, hours, better)

    def _hand_over(self, trainer: L.Trainer, hour: int, entry: Entry) -> None:
        data = ReplayDataModule.of(trainer)
        try:
            network = read_network(self.run, entry, data.games[0])
        except ValueError as error:
            raise DistillError(str(error)) from error
        teacher = Teacher(str(self.run), network, self.run / FOLDER / entry.file, kind="values")
        data.change_teacher(hour, teacher, forget=self.former == "flush")

    def _wait_for(self, hours: int, trainer: L.Trainer) -> Index:
        seen, since, told = -1, time.monotonic(), False
        while True:
            index = self._read(trainer)
            if index.hours >= hours or index.ended:
                return index
            if index.hours > seen:
                seen, since = index.hours, time.monotonic()
            elif time.monotonic() - since > self.patience_minutes * 60:
                raise DistillError(
                    f"{self.run} is at hour {index.hours} and has made no progress for {self.patience_minutes:g} "
                    "minutes; go on with its run, and then with this one",
                    code=1,
                )
            if not told:
                print(f"waiting for the teacher, which is at hour {index.hours} of {hours}", file=sys.stderr)
                told = True
            time.sleep(self.poll_seconds)

    def _read(self, trainer: L.Trainer) -> Index:
        try:
            index = read_index(self.run)
        except ValueError as error:
            raise DistillError(str(error)) from error
        (game,) = ReplayDataModule.of(trainer).games
        if index is None:
            raise DistillError(f"{self.run} holds no best networks any more")
        if index.game != game:
            raise DistillError(f"{self.run} is a teacher of {index.game}, not {game}")
        if index.hours < self._clock:
            raise DistillError(
                f"the clock of {self.run} went back from hour {self._clock} to {index.hours}; it is another run now"
            )
        self._clock = index.hours
        return index
