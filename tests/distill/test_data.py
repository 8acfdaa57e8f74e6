"""The data module: refills, blocks, and what a run of both modules does, on real Pong."""

import inspect
import itertools
import math
from contextlib import nullcontext

import lightning as L
import pytest
import torch

from distill import protocol
from distill.atari.environments import Atari
from distill.data import ReplayDataModule
from distill.evaluation import EvalConfig
from distill.hours.teacher_play import TeacherPlay
from distill.student import StudentModule
from distill.teacher import TeacherModule


def memory_of(data, game="pong"):
    return data.experiences[game].memory


def fit(module, data, hours=2, ckpt_path=None, **trainer):
    """Run hours without files."""
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "num_sanity_val_steps": 0, "accelerator": "cpu", "limit_val_batches": 0}
    trainer = L.Trainer(max_epochs=hours, **{**quiet, **trainer})
    trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def student(make_teacher, small, seed=0, **changes):
    """Distil an untrained teacher into a seeded student for two hours."""
    L.seed_everything(seed, verbose=False)
    data = ReplayDataModule("pong", make_teacher("pong"), seed=seed, **{**small, **changes})
    module = StudentModule("pong")
    return module, data, fit(module, data)


def test_each_hour_is_one_refill_and_its_updates(make_teacher, small):
    """An hour plays `hour_steps` once, then takes `updates_per_hour` updates, which are Lightning's global step."""
    refills, updates = [], []

    class Counting(ReplayDataModule):
        def refill(self, number, **more):
            refills.append((number, self.trainer.global_step))
            super().refill(number, **more)

    class CountingStudent(StudentModule):
        def loss(self, batch):
            updates.append(len(batch))
            return super().loss(batch)

    data = Counting("pong", make_teacher("pong"), **small)
    trainer = fit(CountingStudent("pong"), data, hours=3)
    assert refills == [(0, 0), (1, 8), (2, 16)]
    assert updates == [8] * 24
    assert trainer.global_step == 24
    assert memory_of(data)._written * 2 == 3 * 120


def test_a_learning_teacher_refills_often_and_warms_up_once(small):
    """Without a teacher the hour is played in `refills_per_hour` pieces, after one warm-up."""
    data = ReplayDataModule("pong", **{**small, "refills_per_hour": 2, "warmup_steps": 40, "n_steps": 3})
    module = TeacherModule("pong", network="net3", target_updates=4)
    refills = []
    data.on_play.append(lambda done, steps: refills.append(steps) if done == steps else None)
    fit(module, data)
    assert refills == [60 + 40, 60, 60, 60]
    assert memory_of(data)._written * 2 == 2 * 120 + 40


def test_the_memory_is_the_last_hours(make_teacher, small):
    """The memory never holds more than `memory_hours`."""
    _, data, _ = student(make_teacher, small, memory_hours=1.5)
    assert len(memory_of(data)) == 180


def test_the_memory_is_no_larger_than_the_run(make_teacher, small):
    """There is room for the hours that a run sees, of each game, not for all that it might remember."""
    _, data, _ = student(make_teacher, small, memory_hours=10)
    assert memory_of(data).length == 2 * 120 // 2


def test_an_episode_goes_on_from_hour_to_hour(make_teacher, small):
    """No episode is cut at an hour's end: only the first step of the run begins one while none has ended."""
    _, data, _ = student(make_teacher, {**small, "max_frames": 100_000})
    kept = memory_of(data)._kept
    written = 2 * 120 // 2
    assert not kept["ended"][:written].any()
    assert kept["first"][:written].any(axis=1).nonzero()[0].tolist() == [0]


def test_who_looks_at_gradients_is_asked(make_teacher, small):
    """Hooks of callbacks, and of a module of one's own, see every update; with and without them weights are equal."""
    seen = []

    class Watch(L.Callback):
        def on_before_backward(self, trainer, module, loss):
            seen.append(("loss", loss.requires_grad))

        def on_after_backward(self, trainer, module):
            seen.append(("gradients", module.network.conv1.weight.grad is not None))

    class Watched(StudentModule):
        def on_after_backward(self):
            seen.append(("its own", self.network.conv1.weight.grad is not None))

    def learned(module, **trainer):
        data = ReplayDataModule("pong", make_teacher("pong"), **small)
        fit(module, data, hours=1, **trainer)
        return torch.cat([weights.flatten() for weights in module.parameters()])

    L.seed_everything(0)
    plain = learned(StudentModule("pong", "net3"))
    assert not seen
    L.seed_everything(0)
    assert torch.equal(learned(StudentModule("pong", "net3"), callbacks=[Watch()]), plain)
    assert seen == [("loss", True), ("gradients", True)] * 8
    seen.clear()
    L.seed_everything(0)
    assert torch.equal(learned(Watched("pong", "net3")), plain)
    assert seen == [("its own", True)] * 8


def test_one_seed_gives_bit_equal_students(make_teacher, small):
    """Two runs with one seed end in the same bits; another seed does not."""
    weights = [student(make_teacher, small, seed=seed)[0].network.state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["conv1.weight"], weights[2]["conv1.weight"])


def test_labels_are_the_teachers_values(make_teacher, small):
    """A stored label is what the teacher thinks of the stored observation, and carries no gradient."""
    _, data, _ = student(make_teacher, small)
    import numpy as np

    rows = memory_of(data).minibatch(np.random.default_rng(0), 64)
    torch.testing.assert_close(data.teachers["pong"].network(rows.observations), rows.labels)
    assert not rows.labels.requires_grad


def test_a_students_checkpoint_holds_no_teacher(make_teacher, small, tmp_path):
    """A checkpoint has the student's own weights and nothing of the teacher's size."""
    data = ReplayDataModule("pong", make_teacher("pong", network="dqn"), **small)
    module = StudentModule("pong")
    trainer = fit(module, data, hours=1)
    trainer.save_checkpoint(tmp_path / "student.ckpt")
    checkpoint = torch.load(tmp_path / "student.ckpt", weights_only=True)
    assert set(checkpoint["state_dict"]) == {f"network.{name}" for name in module.network.state_dict()}
    assert (tmp_path / "student.ckpt").stat().st_size < 1e6  # weights and squared gradients: 0.5 MB; the teacher: 6.7


def test_a_checkpoint_gives_its_module_back(make_teacher, small, tmp_path):
    """`load_from_checkpoint` rebuilds the student with its arguments and weights."""
    module, _, trainer = student(make_teacher, small)
    trainer.save_checkpoint(tmp_path / "student.ckpt")
    again = StudentModule.load_from_checkpoint(tmp_path / "student.ckpt", weights_only=True)
    assert again.hparams == module.hparams
    assert torch.equal(again.network.out.weight, module.network.out.weight)


@pytest.fixture
def count_steps(monkeypatch):
    """Count the steps that environments take."""
    steps = []
    send = Atari.send
    monkeypatch.setattr(Atari, "send", lambda games, actions: steps.append(len(actions)) or send(games, actions))
    return steps


def test_a_second_run_in_the_same_store_plays_nothing(make_teacher, small, count_steps):
    """Another student of the same teacher finds its hours and takes no step in any environment."""
    first, _, _ = student(make_teacher, small)
    assert sum(count_steps) == 240
    again, _, _ = student(make_teacher, small)
    assert sum(count_steps) == 240
    assert torch.equal(first.network.conv1.weight, again.network.conv1.weight)


def test_overlap_changes_nothing_but_the_time(make_teacher, small, tmp_path, count_steps):
    """Students are the same bits whether the next hour is played meanwhile or afterwards; none is beyond the last."""
    weights = [
        student(make_teacher, {**small, "store": str(tmp_path / str(overlap)), "overlap": overlap})[
            0
        ].network.state_dict()
        for overlap in (True, False)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert sum(count_steps) == 2 * 240


def test_a_student_that_acts_goes_on_with_the_same_bits(make_teacher, small, tmp_path):
    """Hours in which the student acted are found again by a run that goes on, though its weights are others by now."""
    teacher = make_teacher("pong")

    def distil(hours, store, ckpt_path=None):
        L.seed_everything(0, verbose=False)
        data = ReplayDataModule(
            "pong", teacher, **{**small, "store": str(tmp_path / store), "beta": [(0, 1.0), (2, 0)]}
        )
        module = StudentModule("pong", learning_rate=1e-2)
        return module, fit(module, data, hours=hours, ckpt_path=ckpt_path)

    whole, _ = distil(4, "whole")
    _, trainer = distil(3, "parts")
    trainer.save_checkpoint(tmp_path / "three.ckpt")
    parts, _ = distil(4, "parts", tmp_path / "three.ckpt")
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), parts.parameters(), strict=True))
    names = [sorted(path.name for path in (tmp_path / store).glob("*.hour")) for store in ("whole", "parts")]
    assert names[0] == names[1]


@pytest.mark.parametrize("fails", [False, True])
def test_the_threads_are_given_back(make_teacher, small, monkeypatch, fails):
    """PyTorch has its threads again when a run has ended, however it did."""
    monkeypatch.setattr("distill.data.usable_cores", lambda: 4)
    seen = []

    class Looking(StudentModule):
        def training_step(self, block):
            seen.append(torch.get_num_threads())
            if fails:
                raise RuntimeError("broken off")
            super().training_step(block)

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(RuntimeError, match="broken off") if fails else nullcontext():
            fit(Looking("pong"), ReplayDataModule("pong", make_teacher("pong"), **small), hours=1)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {2}


def test_validation_scores_the_students_own_play(make_teacher, small):
    """`validate` plays the asked number of episodes with the student and logs their mean."""
    module, data, _ = student(make_teacher, {**small, "eval_episodes": 2})
    trainer = fit(module, data, hours=1, limit_val_batches=1.0)
    assert module.summaries["pong"].episodes == 2
    assert trainer.callback_metrics["val/score"].item() == pytest.approx(module.summaries["pong"].mean)


@pytest.mark.parametrize("beta", [1.0, [(0, 1.0), (5, 0.0)]])
def test_what_a_run_goes_on_from_is_not_evicted(make_teacher, small, tmp_path, monkeypatch, beta):
    """With a limit below the memory, a run that goes on finds each hour that it remembered, and plays the next."""
    played, play = [], TeacherPlay._play
    monkeypatch.setattr(TeacherPlay, "_play", lambda self, hour, tell: played.append(hour) or play(self, hour, tell))
    few = {**small, "memory_hours": 3, "store_limit_gb": 1e-6, "beta": beta}

    def run(hours, **how):
        L.seed_everything(0, verbose=False)
        return fit(StudentModule("pong"), ReplayDataModule("pong", make_teacher("pong"), **few), hours, **how)

    run(4).save_checkpoint(tmp_path / "four.ckpt")
    run(5, ckpt_path=tmp_path / "four.ckpt")
    assert played == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"game": "pongg"}, "did you mean pong"),
        ({"teacher": "nowhere"}, "neither a file nor a shipped teacher"),
        ({"hour_steps": 0}, "hour_steps is 0"),
        ({"hour_steps": 121}, "multiple of"),
        ({"updates_per_hour": 7}, "multiple of"),
        ({"memory_hours": 0}, "above 0"),
        ({"memory_hours": math.inf}, "above 0, and finite"),
        ({"epsilon": 1.5}, "between 0 and 1"),
        ({"epsilon": [(0, 1.0), (4, -0.1)]}, "epsilon is -0.1; it must be between 0 and 1"),
        ({"epsilon": []}, "there must be one"),
        ({"eval_epsilon": -0.1}, "between 0 and 1"),
        ({"beta": 2}, "beta is 2.0; it must be between 0 and 1"),
        ({"beta": 0.5}, "beta is below 1, but without a teacher"),
        ({"lmbda": -0.5}, "lmbda is -0.5; it must be between 0 and 1"),
        ({"lmbda": [(0, 0.0), (4, 1.5)]}, "lmbda is 1.5; it must be between 0 and 1"),
        ({"lmbda": 0.5}, "lmbda is above 0, but without a teacher .* it must be 0"),
        ({"teacher": "pong", "beta": 0.5, "lmbda": 0.5}, "beta and lmbda are both given"),
        ({"eval_episodes": 0}, "1 or more"),
        ({"num_envs": 0}, "1 or more"),
        ({"seed": -1}, "0 or more"),
        ({"store_limit_gb": 0}, "above 0"),
        ({"teacher": "pong", "warmup_steps": 40}, "with a teacher"),
        ({"teacher": "pong", "refills_per_hour": 2}, "with a teacher"),
    ],
)
def test_bad_arguments_are_refused_with_what_is_allowed(small, arguments, reason):
    """Each bad argument gives a `ValueError` that says what is allowed."""
    with pytest.raises(ValueError, match=reason):
        ReplayDataModule(**{"game": "pong", **small, **arguments})


def test_a_teacher_for_another_game_is_refused(make_teacher, small):
    """A teacher must play the data's game, with as many actions as it has."""
    with pytest.raises(ValueError, match="plays breakout, not pong"):
        ReplayDataModule("pong", make_teacher("breakout"), **small)
    with pytest.raises(ValueError, match="18 actions"):
        ReplayDataModule("pong", make_teacher("pong", num_actions=18), **small)


def test_mixed_precision_learns_from_fresh_weights(make_teacher, small):
    """Within a block, each update sees the hidden layer that the last one left, not a rounded copy from before."""
    seen = []

    class Probing(StudentModule):
        def loss(self, batch):
            seen.append(self.network.fc1(torch.ones(1, self.network.fc1.in_features)).detach())
            return super().loss(batch)

    fit(
        Probing("pong", learning_rate=0.01),
        ReplayDataModule("pong", make_teacher("pong"), **small),
        hours=1,
        precision="bf16-mixed",
    )
    assert seen[0].dtype == torch.bfloat16
    assert not any(torch.equal(before, after) for before, after in itertools.pairwise(seen))


def test_the_evaluations_rules_are_the_options():
    """Episodes, seed, epsilon and longest episode of an evaluation are the ones given."""
    data = ReplayDataModule("pong", seed=5, eval_epsilon=0.25, eval_episodes=3, max_frames=400)
    assert data.eval_config("pong") == EvalConfig("pong", (0, 1, 2), 5, 0.25, 400)


@pytest.mark.parametrize(
    ("lmbda", "beta"), [(0.7, 0.3), (0, 1.0), (1, 0.0), ([(0, 0.0), (2, 0.9)], [(0, 1.0), (2, 0.1)])]
)
def test_lmbda_is_the_students_share(make_teacher, lmbda, beta):
    """A run that is given `lmbda` is the one that is given `1 - beta`, to the last bit."""
    of_student, of_teacher = (
        ReplayDataModule("pong", make_teacher("pong"), **option) for option in ({"lmbda": lmbda}, {"beta": beta})
    )
    assert of_student.beta == of_teacher.beta


def test_the_defaults_are_the_papers():
    """What nobody changes is what the paper says."""
    defaults = {name: of.default for name, of in inspect.signature(ReplayDataModule).parameters.items()}
    paper = {"hour_steps": 54_000, "updates_per_hour": 10_000, "memory_hours": 10, "batch_size": 32, "epsilon": 0.05}
    paper |= {"eval_epsilon": 0.05, "eval_episodes": 30, "max_frames": 108_000}
    assert {name: defaults[name] for name in paper} == paper
    assert (protocol.NOOP_MAX, protocol.TEMPERATURE) == (30, 0.01)


def test_each_hour_draws_others(make_teacher, small):
    """The draws of an hour are its own, though the memory may hold the same steps."""
    seen = []

    class Watching(StudentModule):
        def loss(self, batch):
            seen.append(batch.labels.clone())
            return super().loss(batch)

    class Same(ReplayDataModule):
        def refill(self, number, **more):
            if number == 0:
                super().refill(number, **more)

    fit(Watching("pong"), Same("pong", make_teacher("pong"), **small))
    first, second = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert not any(torch.equal(one, other) for one, other in zip(first, second, strict=True))
