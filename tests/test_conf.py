"""Every file in conf/ runs; a new one is found by glob and cannot escape."""

import itertools
import json
from pathlib import Path

import pytest
import yaml
from wandb.sdk.launch.sweeps import utils as agent

from distill.cli import main
from distill.fit import check_options
from distill.jobs.sweep_file import read_sweep
from distill.weights.files import shipped

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"
ALL = sorted(path for path in CONF.rglob("*.yaml") if "results" not in path.parts)
SWEEPS = [path for path in ALL if path.parent.name == "sweep"]
COMPLETE = [path for path in ALL if {"model", "data"} <= set(yaml.safe_load(path.read_text()))]
OTHERS = [path for path in ALL if "python -m distill online" in path.read_text()]
OVERLAYS = [path for path in ALL if path not in (*SWEEPS, *COMPLETE, *OTHERS)]


def but_for_its_hours(path: Path) -> str:
    """What a config says, apart from how many hours it takes, after how many it scores, and its rate in each."""
    content = yaml.safe_load(path.read_text())
    hours = [content["trainer"].pop(name, None) for name in ("max_epochs", "check_val_every_n_epoch")]
    assert hours[0]
    content["model"]["init_args"].pop("learning_rate", None)
    return json.dumps(content, sort_keys=True)


def test_no_two_configs_differ_in_their_hours_alone():
    """Such a config is the other with two options."""
    assert len({but_for_its_hours(path) for path in COMPLETE}) == len(COMPLETE)


def slow_where_it_is_long(path: Path):
    """Mark a config of ten games."""
    return pytest.param(path, marks=[pytest.mark.slow] if "multi10" in path.read_text() else [])


@pytest.mark.parametrize("path", [*map(slow_where_it_is_long, COMPLETE)], ids=lambda path: str(path.relative_to(CONF)))
def test_a_complete_config_runs_shrunken(path, workdir, stand_ins):
    """A complete config, given conf/debug.yaml, runs to its table and leaves its network.

    Small untrained teachers take the place of several.
    """
    shrunken = ["--config", "conf/debug.yaml", "--trainer.check_val_every_n_epoch=2"]
    main(["fit", "--config", str(path), *shrunken, "--run_dir", "run", *stand_ins(path)])
    assert list((workdir / "run").glob("*.safetensors"))


@pytest.mark.parametrize("path", COMPLETE, ids=lambda path: str(path.relative_to(CONF)))
def test_a_config_opens_with_its_command(path):
    """A complete config's header holds the command that runs it."""
    assert f"python -m distill fit --config {path.relative_to(ROOT)}" in path.read_text().split("\nseed_everything")[0]


def test_a_shipped_teachers_config_is_complete(workdir, capsys):
    """Beside each shipped teacher is the config that made it, which parses as it is."""
    for game, path in shipped().items():
        with pytest.raises(SystemExit) as stop:
            main(["fit", "--config", str(path.with_suffix(".yaml")), "--print_config"])
        assert stop.value.code in (0, None), path
        config = yaml.safe_load(capsys.readouterr().out)
        assert config["data"]["init_args"]["game"] == game


def test_every_other_config_is_an_overlay_of_these(workdir):
    """A file that is no complete config, nor another command's, merges into conf/compress.yaml, and all of it is built.

    Whatever such a file is given after says so in its header.
    """
    assert {"debug", "tensorboard", "wandb"} <= {path.stem for path in OVERLAYS}
    for path in OVERLAYS:
        name = path.relative_to(ROOT)
        assert f"python -m distill fit --config conf/compress.yaml --config {name}" in path.read_text(), path
        check_options(["--config", "conf/compress.yaml", "--config", str(name)])


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_is_expanded_as_wandb_does(path, workdir, capsys):
    """Each point of a sweep, written as a command line by W&B's own agent, is as we write it, and `fit` takes it."""
    content = yaml.safe_load(path.read_text())
    assert f"python -m distill sweep conf/sweep/{path.name}" in path.read_text()
    assert f"wandb sweep conf/sweep/{path.name}" in path.read_text()
    sweep = read_sweep(path)
    names = list(content["parameters"])
    points = list(itertools.product(*(content["parameters"][name]["values"] for name in names)))
    assert [tuple(point.values()) for point in sweep.grid()] == points
    for values in points:
        args = {name: {"value": value} for name, value in zip(names, values, strict=True)}
        macros = agent.create_sweep_command_args({"args": args})
        command = []
        for part in agent.create_sweep_command(list(content["command"])):
            command += macros.get(part.removeprefix("${").removesuffix("}"), [part]) if "${" in part else [part]
        assert command[:5] == ["${env}", "${interpreter}", "-m", "distill", "fit"]
        assert command[5:] == sweep.options_of(dict(zip(names, values, strict=True)))
        with pytest.raises(SystemExit) as stop:
            main([*command[4:], "--print_config"])
        assert stop.value.code in (0, None)
        config = yaml.safe_load(capsys.readouterr().out)
        for name, value in zip(names, values, strict=True):
            section, _, key = name.rpartition(".")
            assert (config[section]["init_args"] if section else config)[key] == value
        assert config["data"]["init_args"]["store"]
        assert [of["class_path"] for of in config["trainer"]["logger"]] == ["distill.runs.loggers.Wandb"]
    check_options(command[5:])
