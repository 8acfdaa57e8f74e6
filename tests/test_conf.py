"""Every file in conf/ runs; a new one is found by glob and cannot escape."""

import json
from pathlib import Path

import pytest
import yaml

from distill.cli import main
from distill.weights import shipped

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"
COMPLETE = [path for path in sorted(CONF.rglob("*.yaml")) if "class_path" in path.read_text() and path.stem != "debug"]


def but_for_its_hours(path: Path) -> str:
    """What a config says, apart from how many hours it takes and after how many it scores."""
    content = yaml.safe_load(path.read_text())
    hours = [content["trainer"].pop(name, None) for name in ("max_epochs", "check_val_every_n_epoch")]
    assert hours[0]
    return json.dumps(content, sort_keys=True)


DIFFERENT = {but_for_its_hours(path): path for path in reversed(COMPLETE)}
"""One of those that differ in their hours only, which conf/debug.yaml replaces."""


@pytest.mark.parametrize("path", DIFFERENT.values(), ids=lambda path: str(path.relative_to(CONF)))
def test_a_complete_config_runs_shrunken(path, workdir, stand_ins):
    """A complete config, given conf/debug.yaml, runs to its table and leaves its network.

    Where it names a teacher that is not shipped yet, an untrained one takes its place.
    """
    main(["fit", "--config", str(path), "--config", "conf/debug.yaml", "--run_dir", "run", *stand_ins(path)])
    assert list((workdir / "run").glob("*.safetensors"))


@pytest.mark.parametrize("path", COMPLETE, ids=lambda path: str(path.relative_to(CONF)))
def test_a_config_opens_with_its_command(path):
    """A complete config's header holds the command that runs it."""
    assert f"python -m distill fit --config {path.relative_to(ROOT)}" in path.read_text().split("\nseed_everything")[0]


def test_a_shipped_teachers_config_is_complete(workdir, capsys):
    """Beside each shipped teacher is the config that made it, which parses as it is; its command says so."""
    table = (ROOT / "distill" / "teachers" / "README.md").read_text()
    for game, path in shipped().items():
        with pytest.raises(SystemExit) as stop:
            main(["fit", "--config", str(path.with_suffix(".yaml")), "--print_config"])
        assert stop.value.code in (0, None), path
        config = yaml.safe_load(capsys.readouterr().out)
        assert config["data"]["init_args"]["game"] == game
        mean = json.loads(path.with_suffix(".json").read_text())["teacher"]["mean"]
        assert f"| {game} | {mean:.1f} (" in table


def test_every_other_config_is_an_overlay_of_these(workdir, capsys):
    """A file that is no complete config, nor another command's, merges into conf/compress.yaml."""
    others = {path for path in CONF.rglob("*.yaml") if "python -m distill online" in path.read_text()}
    for path in set(CONF.rglob("*.yaml")) - set(COMPLETE) - others:
        with pytest.raises(SystemExit) as stop:
            main(["fit", "--config", "conf/compress.yaml", "--config", str(path), "--print_config"])
        assert stop.value.code in (0, None), path
