"""The command line, in this process: runs, folders, overrides, and mistakes."""

import csv
import errno
import inspect
import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml

from distill.cli import COMMAND_GROUPS, TRAINERS_WORDS, main
from distill.commands import COMMANDS, divide, words_of
from distill.files.checkpoint import newest
from distill.runs.folder import alone_in
from distill.runs.scores import compare
from distill.tools.evaluate import evaluate
from distill.weights.load import load_network

ROOT = str(Path(__file__).parents[2])
SMALL = [
    "--config",
    "conf/compress.yaml",
    "--config",
    "conf/debug.yaml",
    "--model.network=net3",
    "--trainer.max_epochs=1",
]


@pytest.fixture
def fit(workdir, make_teacher):
    """Run `fit` on a shrunken conf/compress.yaml with an untrained teacher."""

    def run(*args: str) -> None:
        main(["fit", *SMALL, "--data.teacher", make_teacher("pong"), *args])

    return run


def resolved(capsys, *args: str) -> dict:
    """Return what `--print_config` prints."""
    with pytest.raises(SystemExit) as stop:
        main(["fit", *args, "--print_config"])
    assert stop.value.code in (0, None)
    return yaml.safe_load(capsys.readouterr().out)


def test_a_run_leaves_its_folder(fit, workdir, capsys):
    """A run prints its folder at start and end, and leaves config, metrics, checkpoints, network and scores there."""
    fit()
    assert capsys.readouterr().out.count("run: runs/compress/0") == 2
    folder = workdir / "runs" / "compress" / "0"
    assert yaml.safe_load((folder / "config.yaml").read_text())["data"]["init_args"]["hour_steps"] == 240
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    with (folder / "metrics.csv").open() as file:
        columns = set(csv.DictReader(file).fieldnames)
    assert {"step", "train/loss", "train/agreement", "val/score"} <= columns
    network, header = load_network(str(folder / "student.safetensors"))
    assert (network.num_actions, header["game"]) == (6, "pong")
    scores = json.loads((folder / "scores.json").read_text())
    for name in ("teacher", "student"):
        assert {"mean", "interval95", "episodes", "parameters"} <= set(scores[name])
    assert scores["random"] > -20.7  # which is of whole episodes
    shares = compare(scores["student"]["mean"], scores["teacher"]["mean"], scores["random"])
    assert {name: scores[name] for name in shares} == shares


def test_runs_are_numbered_and_named_folders_are_not_reused(fit, workdir, capsys):
    """A second run takes the next number; a `run_dir` that holds a run is refused before anything is touched."""
    fit()
    fit()
    assert sorted(path.name for path in (workdir / "runs" / "compress").iterdir()) == ["0", "1"]
    before = {path: path.stat().st_mtime_ns for path in (workdir / "runs").rglob("*")}
    whose = "runs/compress/1/checkpoints/last.ckpt"
    for args, reason in (
        (["--run_dir", "runs/compress/0"], "runs/compress/0 is not empty"),
        (["--run_dir", "runs/compress/0", "--ckpt_path", whose], "runs/compress/0 is not empty"),
        (["--run_dir", "runs/compress/0", "--resume", "runs/compress/1"], "goes on in runs/compress/1"),
        (["--run_dir", "elsewhere", "--resume", "runs/compress/1"], "leave run_dir and ckpt_path out"),
        (["--ckpt_path", whose, "--resume", "runs/compress/1"], "leave run_dir and ckpt_path out"),
    ):
        with pytest.raises(SystemExit) as stop:
            fit(*args)
        assert stop.value.code == 2
        assert reason in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in (workdir / "runs").rglob("*")} == before


def test_validate_scores_a_checkpoint_without_being_told_its_config(fit, workdir, capsys):
    """`validate --ckpt_path` finds the run's config and gives the score that the run gave."""
    fit("--run_dir", "mine")
    expected = json.loads((workdir / "mine" / "scores.json").read_text())["student"]["mean"]
    capsys.readouterr()
    main(["validate", "--ckpt_path", "mine/checkpoints/last.ckpt"])
    assert f"pong: {expected:.1f}, 1 episode\n" in capsys.readouterr().out
    main(["validate", "--ckpt_path", "mine"])  # a run's folder
    assert f"pong: {expected:.1f}, 1 episode\n" in capsys.readouterr().out
    main(["validate", "--config", "debug", "--ckpt_path", "mine/checkpoints/last.ckpt", "--data.eval_episodes", "3"])
    assert "3 episodes" in capsys.readouterr().out


def test_what_validate_cannot_take_is_named(fit, workdir, capsys):
    """A missing file, a folder without checkpoints, a weight file, a checkpoint that was moved."""
    fit("--run_dir", "mine")
    (workdir / "moved.ckpt").write_bytes((workdir / "mine" / "checkpoints" / "last.ckpt").read_bytes())
    for given, said in {
        "nowhere.ckpt": "nowhere.ckpt does not exist",
        "conf": "conf holds no checkpoint; give a run's folder",
        "mine/student.safetensors": "is no checkpoint; evaluate mine/student.safetensors scores a weight file",
        "moved.ckpt": "lies in no run's folder, whose config says how to score it; give --config",
    }.items():
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(["validate", "--ckpt_path", given])
        assert stop.value.code == 2
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_a_runs_folder_stands_for_what_it_learned(fit, workdir, capsys):
    """`evaluate`, `export`, a teacher and `pretrained` take it."""
    fit("--run_dir", "mine")
    few = ["--episodes", "1", "--max_frames", "400"]
    assert (
        evaluate("mine", episodes=1, max_frames=400)["scores"]
        == evaluate("mine/student.safetensors", episodes=1, max_frames=400)["scores"]
    )
    main(["evaluate", "pong", "--teacher", "mine", *few])
    main(["export", "mine", "--out", "mine.onnx"])
    fit("--run_dir", "next", "--data.teacher", "mine", "--model.temperature", "1", "--model.pretrained", "mine")
    assert load_network("next")[1]["trained"]["teacher"] == "mine"
    with pytest.raises(SystemExit):
        main(["evaluate", "conf", *few])
    assert "conf is a folder without student.safetensors" in capsys.readouterr().err


def test_scores_are_kept_before_they_are_shown(fit, workdir, monkeypatch):
    """Where whoever reads the table has gone, as `head` does, the scores are in the folder all the same."""

    def nobody_reads(scores: dict) -> None:
        raise SystemExit(1)  # as rich does of a broken pipe

    monkeypatch.setattr("distill.fit.show_scores", nobody_reads)
    with pytest.raises(SystemExit):
        fit("--run_dir", "mine")
    assert (workdir / "mine" / "scores.json").is_file()


def test_folders_of_others_stay(fit, workdir, capsys):
    """A run that is refused removes the folders that it made, and no others."""
    (workdir / "given" / "before").mkdir(parents=True)
    for run_dir in ("given/before", "given/before/and/after"):
        with pytest.raises(SystemExit):
            fit("--run_dir", run_dir, "--model.temperature=-1")
        assert "temperature is -1.0" in capsys.readouterr().err
        assert not list((workdir / "given" / "before").iterdir())


def test_a_run_goes_on_from_its_checkpoint(fit, workdir, capsys):
    """`--resume` needs no config and ends as the run that was never stopped: in weights and in metrics."""
    watching = ["--trainer.callbacks+=lightning.pytorch.callbacks.EarlyStopping", "--trainer.callbacks.patience=99"]
    watching += ["--trainer.callbacks.monitor=train/agreement", "--trainer.callbacks.check_on_train_epoch_end=true"]
    fit("--run_dir", "whole", "--trainer.max_epochs", "3", *watching)
    fit("--run_dir", "parts", "--trainer.max_epochs", "2", *watching)
    damaged = workdir / "parts" / "checkpoints" / "last.ckpt"  # the one before is of the hour's last update
    damaged.write_bytes(damaged.read_bytes()[:-1])
    main(["fit", "--resume", "parts", "--trainer.max_epochs", "3"])
    assert f"{damaged.relative_to(workdir)} is no checkpoint of this project (it is cut" in capsys.readouterr().err
    assert newest(damaged.parent) == (damaged, [])
    files = [workdir / run / "student.safetensors" for run in ("whole", "parts")]
    whole, parts = (load_network(str(file))[0].state_dict() for file in files)
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
    texts = [(workdir / run / "metrics.csv").read_text() for run in ("whole", "parts")]
    tables = [list(csv.DictReader(text.splitlines())) for text in texts]
    assert len(tables[0]) > 6
    for name in ("step", "train/loss", "train/agreement", "val/score"):
        assert [row[name] for row in tables[0]] == [row[name] for row in tables[1]]
    config = (workdir / "parts" / "config.yaml").read_bytes()
    for option, value, reason in (
        ("--trainer.max_epochs", "1", "max_epochs=1"),
        ("--model.network", "net2", "last.ckpt is of network net3; here it is net2"),
        ("--data.game", "qbert", "last.ckpt is of game pong; here it is qbert"),
    ):
        teacher = ["--data.teacher", "qbert"] if value == "qbert" else []
        with pytest.raises(SystemExit) as stop:
            main(["fit", "--resume", "parts", option, value, *teacher])
        assert stop.value.code == 2
        assert reason in capsys.readouterr().err.splitlines()[-1]
        assert (workdir / "parts" / "config.yaml").read_bytes() == config


def test_a_run_that_goes_on_needs_no_more_what_it_began_with(fit, workdir):
    """The file of `pretrained` may go, once there is a checkpoint; the config still names it."""
    fit("--run_dir", "first", "--trainer.max_epochs", "1")
    begin = (workdir / "first" / "student.safetensors").rename(workdir / "begin.safetensors")
    fit("--run_dir", "second", "--trainer.max_epochs", "1", "--model.pretrained", str(begin))
    begin.unlink()
    main(["fit", "--resume", "second", "--trainer.max_epochs", "2"])
    assert load_network("second/student.safetensors")[1]["trained"]["hours"] == 2
    config = yaml.safe_load((workdir / "second" / "config.yaml").read_text())
    assert config["model"]["init_args"]["pretrained"] == str(begin)


def test_a_student_that_nobody_scored_is_scored_at_the_end(fit, workdir):
    """Without evaluations in between there is still a student, and its score."""
    fit("--run_dir", "run", "--trainer.limit_val_batches", "0")
    assert json.loads((workdir / "run" / "scores.json").read_text())["student"]["episodes"] == 1
    assert (workdir / "run" / "student.safetensors").is_file()


def test_a_users_file_brings_a_loss(fit, workdir, monkeypatch):
    """`--model my_file.MyStudent` finds a subclass in the working directory and learns by its loss."""
    (workdir / "my_file.py").write_text(
        "from distill.student import StudentModule\n"
        "class MyStudent(StudentModule):\n"
        "    def __init__(self, scale: float = 1.0, **kwargs):\n"
        "        super().__init__(**kwargs)\n"
        "        self.scale = scale\n"
        "        self.kind = 'values'\n"
        "    def loss(self, batch):\n"
        "        return 1234.5 * self.scale + 0 * super().loss(batch)\n"
    )
    monkeypatch.syspath_prepend(workdir)
    monkeypatch.delitem(sys.modules, "my_file", raising=False)
    fit("--model", "my_file.MyStudent", "--model.scale", "2")
    with (workdir / "runs" / "compress" / "0" / "metrics.csv").open() as file:
        assert {float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]} == {2469.0}
    for file in ("student.safetensors", "checkpoints/last.ckpt"):
        assert load_network(f"runs/compress/0/{file}")[1]["kind"] == "values"


def test_the_page_of_help_fits_a_screen_and_names_every_command(capsys):
    """Help is at most 24 lines of 80 characters; each command on it exists, and nothing needs PyTorch to print it."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "distill", "--help"], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "torch" not in done.stderr
    named = {name for group in COMMAND_GROUPS.values() for name in group}
    assert named == {"fit", "validate", *COMMANDS}
    for name in named:
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"])
        assert stop.value.code in (0, None)
        shown = capsys.readouterr().out
        assert shown.startswith("usage: python -m distill ")
        assert f" {name} " in shown.splitlines()[0]


def test_what_needs_no_trainer_does_not_wait_for_lightning():
    """Lightning takes as long to import as all else; `bench` alone of the other commands needs it."""
    modules = [f"distill.{module}" for name, module in COMMANDS.items() if name != "bench"]
    program = (
        f"import sys, importlib; [importlib.import_module(m) for m in {modules}]; print('lightning' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["evalute", "pong"], "there is no command evalute; did you mean evaluate?"),
        (
            ["fit", "--config", "compres"],
            "config compres is no file, nor one of those that come along; did you mean compress?",
        ),
        (["sweep", "sweep/none"], "config sweep/none is no file"),
        (["sweep", "none"], "config none is no file"),
        (["fit", "--config=nosuch.yaml"], "config nosuch.yaml is no file, nor one of those that come along: "),
        (["fit", "--confg", "x"], "there is no option --confg; did you mean --config?"),
        (["fit", "--trianer.max_epochs=2"], "there is no option --trianer.max_epochs; did you mean --trainer"),
        (["validate", "--modle", "x"], "there is no option --modle; did you mean --model?"),
        (["fit", "--seed", "3"], "there is no option --seed; did you mean --seed_everything?"),
        (["evaluate", "pong", "--vidoe", "x"], "there is no option --vidoe; did you mean --video?"),
        (["export", "x", "--size", "9"], "there is no option --size; options are --config, --help, "),
        (["online", "--teacher.trianer.x=1"], "there is no option --teacher.trianer.x; did you mean --teacher.trainer"),
        (["reproduce", "--fit.config", "none.yaml"], "config none.yaml is no file"),
    ],
)
def test_a_wrong_name_is_one_line(workdir, capsys, args, reason):
    """Neither a command, an option's first word nor a config that is not there takes more than a line."""
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {reason}")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", " is empty; a config has options by name"),
        ("# nothing\n", " is empty; a config has options by name"),
        ("- a\n- b\n", " is a list; a config has options by name"),
        ("hello", " is one value; a config has options by name"),
        ("data:\n  game: pong\n bad\n", ", line 3: no YAML ("),
        ("data: [1, 2\n", ", line 2: no YAML ("),
        ("data:\n  seed: 1\n  game: pong\n  seed: 2\n", " names seed twice, the second time in line 4"),
        (
            "data:\n  epsilon:\n  - [0, 1]\n  - [2, x]\n",
            ", line 2: data.epsilon is [[0, 1], [2, 'x']]; allowed: f",
        ),
        ("data:\n  init_args:\n    num_envs: many\n", ", line 3: data.num_envs is many; allowed: int"),
        ("model:\n  temprature: 1\n", ", line 2: there is no option model.temprature; did you mean temperature?"),
        (
            "trainer:\n  callbacks:\n  - class_path: EarlyStopping\n    init_args:\n      monitors: val/score\n",
            ", line 5: there is no option trainer.callbacks.monitors; did you mean monitor?",
        ),
        (
            "trainer:\n  callbacks:\n  - class_path: EarlyStoping\n",
            ", line 2: trainer.callbacks: there is no class E",
        ),
    ],
)
def test_a_mistake_in_a_config_names_file_and_line(workdir, capsys, content, said):
    """A config that is none, or has a wrong value, is one line that says where."""
    Path("mine.yaml").write_text(content)
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "compress", "--config", "mine.yaml"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: mine.yaml{said}")
    assert error.count("\n") == 1


def test_wrong_names_are_answered_before_pytorch_is_imported(workdir):
    """What is misspelt in a command's first words, and a config that is not there, do not wait for libraries."""
    wrong = [["evalute"], ["fit", "--confg", "x"], ["fit", "-c", "none.yaml"], ["evaluate", "--vidoe", "x"]]
    program = (
        "import sys; from distill.cli import main\n"
        f"for args in {wrong}:\n"
        "    try: main(args)\n"
        "    except SystemExit as stop: print(stop.code)\n"
        "print({'torch', 'lightning', 'numpy'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ROOT})
    assert done.stdout.split() == ["2"] * len(wrong) + ["set()"]


@pytest.mark.parametrize("name", [name for group in COMMAND_GROUPS.values() for name in group])
def test_first_words_are_those_of_the_parser(name, capsys):
    """The words that are let through to a command's parser are those that its help shows, with what stands alone."""
    with pytest.raises(SystemExit):
        main([name, "--help"])
    shown = capsys.readouterr().out
    parsed = set(re.findall(r"^  (?:-\w(?: \S+)?, )?--(\w+)", shown, re.MULTILINE))
    if name in TRAINERS_WORDS:
        assert set(TRAINERS_WORDS[name]) == parsed
        return
    own, forwarded = words_of(name)
    signature = inspect.signature(getattr(import_module(f"distill.{COMMANDS[name]}"), name.replace("-", "_")))
    alone = {one.name for one in signature.parameters.values() if one.kind is one.POSITIONAL_ONLY}
    assert set(own) | alone == parsed | alone | set(re.findall(r"^  ([a-z]\w*)  ", shown, re.MULTILINE))
    taken = {one for one in signature.parameters if one.endswith("_options")}
    assert {f"{word}_options" for word in forwarded} == taken


def test_a_config_goes_by_its_name(tmp_path, monkeypatch, capsys):
    """Where there is no such file, a name means the config that comes along; where there is one, the file."""
    monkeypatch.chdir(tmp_path)
    assert resolved(capsys, "--config=compress", "-c", "debug")["data"]["init_args"]["hour_steps"] == 240
    (tmp_path / "debug").write_text("data: {init_args: {hour_steps: 120}}")
    assert resolved(capsys, "--config", "compress", "--config=debug")["data"]["init_args"]["hour_steps"] == 120


def test_games_without_teachers_stay_so_in_the_config(workdir, capsys):
    """What a run of several games writes of itself names no teacher where there is none, and is read again."""
    config = resolved(capsys, "--config", "conf/multi_dqn.yaml")
    assert config["data"]["init_args"]["game"] == {"freeway": None, "pong": None, "qbert": None}
    (workdir / "again.yaml").write_text(yaml.safe_dump(config))
    assert resolved(capsys, "--config", "again.yaml") == config


def test_interpolation_follows_the_command_line(workdir, capsys):
    """`${...}` in a config takes the value that the command line gave, and a printed config gives itself again."""
    (workdir / "mine.yaml").write_text("model: {init_args: {temperature: '${data.init_args.epsilon}'}}\n")
    args = ["--config", "conf/compress.yaml", "--config", "mine.yaml", "--data.epsilon", "0.25", "--data.teacher=null"]
    config = resolved(capsys, *args)
    assert config["model"]["init_args"]["temperature"] == 0.25
    (workdir / "again.yaml").write_text(yaml.safe_dump(config))
    assert resolved(capsys, "--config", "again.yaml") == config


STOPPING = ["--trainer.callbacks+=lightning.pytorch.callbacks.EarlyStopping"]


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["--data.gme", "pong"], "there is no option data.gme; did you mean game?"),
        (["--trainer.max_epoch", "1"], "no option trainer.max_epoch; did you mean max_epochs or "),
        (["--data.num_envs", "abc"], "data.num_envs is abc; allowed: int"),
        (["--model.temperature", "hot"], "model.temperature is hot; allowed: float"),
        (["--model.temperature=-1"], "temperature is -1.0; it must be above 0"),
        (["--data.game", "pongg"], "game 'pongg' is unknown; did you mean pong"),
        (
            [*STOPPING, "--trainer.callbacks.monitor=val/scor"],
            "which this run never logs; did you mean val/score?",
        ),
        (["--trainer.callbacks+=lightning.pytorch.callbacks.BatchSizeFinder"], "BatchSizeFinder changes nothing here"),
        (["--data.batch_size=1e9"], "data.batch_size 1000000000 times data.block_updates 4 needs"),
        (["--data.memory_hours=1e12"], "of 240 steps needs"),
        (["--data.eval_episodes=1e12"], "data.eval_episodes 1000000000000 needs"),
        (["--data.game", "breakout"], "plays pong, not breakout"),
        (["--data.teacher", "nowhere.safetensors"], "neither a file nor a shipped teacher"),
        (["--data.teacher", "conf/compress.yaml"], "no weight file of this project"),
        (["--trainer.max_epochs", "0"], "it must be 1 simulated hour or more"),
        (["--data.memory_hours", "0"], "it must be above 0"),
        (["--data.hour_steps", "0"], "it must be 1 or more"),
        (["--data.memory_hours", "1e-6"], "leaves 0 steps of each environment in the memory"),
        (["--trainer.max_steps", "7"], "trainer.max_steps is 7; it must be -1"),
        (["--trainer.limit_val_batches", "0.5"], "limit_val_batches is 0.5; it must be 1.0, all games, or 0, none"),
        (["--trainer.check_val_every_n_epoch", "0"], "check_val_every_n_epoch is 0; it must be 1 or more"),
        (["--data.teacher", "null"], "data.teacher is missing, from whom StudentModule learns"),
        (["--model", "distill.teacher.TeacherModule"], "TeacherModule learns from its own play; data.teacher must be"),
        (["--data.game", "null"], "data.game is missing; give a complete config first"),
        (["--trainer.gradient_clip_val", "0.5"], "gradient_clip_val is 0.5; it must be null"),
        (["--trainer.accumulate_grad_batches", "2"], "accumulate_grad_batches is 2; it must be 1"),
        (["--data.game", "{pong: 5}"], "the teacher of pong is 5; it must be a name or a file, or null"),
        (["--data.max_frames", "3000000000"], "max_frames is 3000000000; it must be between 1 and 1080000"),
        (["--trainer.precision", "8"], "error: trainer.precision is 8; allowed are 32-true, bf16-mixed, 16-mixed"),
        (["--trainer.precision", "64-true"], "trainer.precision is 64-true; allowed are 32-true, bf16-mixed, 16"),
        (["--trainer.precision", "bf16-true"], "allowed are 32-true, bf16-mixed, 16-mixed"),
        (["--seed_everything=-4"], "it must be between 0 and"),
        (["--model", "nowhere.Mine"], "there is no nowhere.py here (nowhere.Mine)"),
        (["--model", "mime.Mine"], "there is no mime.py here; did you mean mine? (mime.Mine)"),
        (["--model", "mine.Mine"], "model: mine.Mine: No module named 'mine'"),
        (
            ["--model", "subprocess.Popen"],
            "'subprocess.Popen' is not allowed in a config; allowed are classes of distill",
        ),
        (
            ["--trainer.logger", "lightning.pytorch.loggers.NoLogger"],
            "there is no class lightning.pytorch.loggers.NoLo",
        ),
        (
            ["--trainer.logger", "lightning.pytorch.loggers.MLFlowLogger"],
            "lightning.pytorch.loggers.MLFlowLogger needs a package that is not installed: mlflow>=",
        ),
        (["--trainer.logger", "TensorBoardLogger"], "trainer.logger: required, but not given: save_dir"),
        (["--trainer.logger", "antigravity.Logger"], "'antigravity.Logger' is not allowed in a config"),
        (["--model.network", "net9"], "choose one of dqn, net1, net2, net3"),
        (["--ckpt_path", "none.ckpt"], "none.ckpt does not exist"),
        (["--ckpt_path", "last"], "give its folder as run_dir"),
        (["--ckpt_path", "conf/debug.yaml"], "conf/debug.yaml is no checkpoint of this project"),
        (["--resume", "nowhere"], "nowhere holds no config.yaml"),
    ],
)
def test_a_mistake_is_one_line(fit, workdir, capsys, args, reason):
    """A mistake prints one line that says what is wrong and what is allowed, exits with 2 and leaves nothing behind."""
    (workdir / "mine.py").touch()
    with pytest.raises(SystemExit) as stop:
        fit(*args)
    (workdir / "mine.py").unlink()
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert reason in err
    assert [path.name for path in workdir.iterdir()] == ["conf"]


def test_a_full_disk_stops_the_run_where_it_can_go_on(fit, workdir, monkeypatch, capsys):
    """Where an hour's file does not fit, one line says so and how to resume, and resuming works once there is room."""
    real, written = os.fsync, []

    def full(handle: int) -> None:
        written.append(os.readlink(f"/proc/self/fd/{handle}"))
        if sum(".hour." in name for name in written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemExit) as stop:
        fit("--run_dir", "mine", "--data.overlap", "false", "--trainer.max_epochs=2")
    assert stop.value.code == 1
    (message,) = capsys.readouterr().err.splitlines()[-1:]
    end = "resume when files can be written there with: python -m distill fit --resume mine"
    assert message == f"error: [Errno 28] No space left on device; {end}"
    assert len(list((workdir / "mine" / "hours").iterdir())) == 2  # the first hour, and the locks
    monkeypatch.setattr(os, "fsync", real)
    main(["fit", "--resume", "mine"])
    assert (workdir / "mine" / "scores.json").is_file()


@pytest.mark.slow
def test_two_processes_end_as_one_run(workdir, make_teacher):
    """Two processes on the CPU share one folder, split the evaluation's episodes and leave one student."""
    args = [*SMALL, "--data.teacher", make_teacher("pong"), "--trainer.accelerator", "cpu"]
    args += ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.eval_episodes=2"]
    command = [sys.executable, "-m", "distill", "fit", *args]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder,) = (workdir / "runs" / "compress").iterdir()
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["student"]["episodes"] == 2


def test_one_process_writes_into_a_folder(fit, workdir, capsys):
    """While a process runs in a folder, no other begins or goes on there; afterwards it may."""
    fit("--run_dir", "run")
    capsys.readouterr()
    with alone_in(workdir / "run"), pytest.raises(SystemExit) as stop:
        main(["fit", "--resume", "run"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: another process runs in run; wait for it, or give another run_dir\n"
    main(["fit", "--resume", "run"])
    (workdir / "other").mkdir()
    with alone_in(workdir / "other"), pytest.raises(SystemExit):
        fit("--run_dir", "other")
    assert [path.name for path in (workdir / "other").iterdir()] == ["lock"]


def test_a_run_without_an_end_shows_its_hours(fit, workdir, monkeypatch, capsys):
    """With `max_epochs` -1 the bar counts hours, of a total that nobody knows, until a callback ends it."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    ending = [
        "--trainer.callbacks+=lightning.pytorch.callbacks.EarlyStopping",
        "--trainer.callbacks.monitor=train/loss",
    ]
    ending += ["--trainer.callbacks.stopping_threshold=1e9", "--trainer.callbacks.check_on_train_epoch_end=true"]
    fit("--trainer.max_epochs=-1", *ending)
    assert load_network("runs/compress/0/student.safetensors")[1]["trained"]["hours"] == 1
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert "hour 1.00" in shown


def test_nothing_is_validated_without_weights(workdir, capsys):
    """`validate` scores a checkpoint or the weights of a file, not a network that knows nothing."""
    with pytest.raises(SystemExit) as stop:
        main(["validate", *SMALL])
    assert stop.value.code == 2
    assert "give it as --ckpt_path" in capsys.readouterr().err


def test_options_of_another_command_take_one_value():
    """What is forwarded loses its prefix and keeps its value; the words after that are the command's own."""
    args = ["--fit.trainer.precision", "bf16-mixed", "table1", "--hours", "2", "--fit.seed=1", "more", "--fit.flag"]
    kept, forwarded = divide(args, "--fit.")
    assert kept == ["table1", "--hours", "2", "more"]
    assert forwarded == ["--trainer.precision", "bf16-mixed", "--seed=1", "--flag"]


def test_a_file_that_cannot_be_written_is_one_line(workdir, capsys):
    """What the system refuses, any command says in a line."""
    (workdir / "taken").touch()
    args = ["--episodes", "1", "--max_frames", "400", "--json", "taken/scores.json"]
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "pong", *args])
    assert stop.value.code == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert "taken" in error


@pytest.mark.parametrize(
    "args",
    [
        ["draw-starts", "pong", "--out", "FILE", "--episodes", "1", "--count", "1", "--max_frames", "400"],
        ["evaluate", "pong", "--json", "FILE", "--episodes", "1", "--max_frames", "400"],
        ["export", "pong", "--out", "FILE", "--format", "safetensors"],
        ["bench", "--json", "FILE"],
        ["import-starts", "log.txt", "--out", "FILE"],
    ],
)
def test_a_file_that_exists_is_replaced_only_if_asked(args, workdir, capsys):
    """Each command refuses at once, and names the option that would have it replaced."""
    (workdir / "log.txt").touch()
    file = workdir / "kept.safetensors"
    file.write_text("mine")
    args = [str(file) if arg == "FILE" else arg for arg in args]
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2
    assert f"{file}, which exists; give another file, or --overwrite to replace it" in capsys.readouterr().err
    assert file.read_text() == "mine"
    if args[1] == "pong":
        main([*args, "--overwrite"])
        assert file.read_bytes() != b"mine"


@pytest.mark.parametrize(
    "args",
    [
        ["draw-starts", "WEIGHTS", "--out", "WEIGHTS"],
        ["evaluate", "WEIGHTS", "--json", "WEIGHTS"],
        ["export", "WEIGHTS", "--out", "WEIGHTS", "--format", "safetensors"],
    ],
)
def test_what_is_read_is_not_written_over(args, make_teacher, capsys):
    """A command whose output would replace its input refuses before it does anything."""
    weights = make_teacher("pong")
    before = Path(weights).read_bytes()
    with pytest.raises(SystemExit) as stop:
        main([weights if arg == "WEIGHTS" else arg for arg in args])
    assert stop.value.code == 2
    assert "which is what is read; give another file" in capsys.readouterr().err
    assert Path(weights).read_bytes() == before
