"""A run's precision is one that its machine is fast in, and is written down as it was used."""

import pytest
import torch
import yaml

from distill import precision
from distill.cli import main

SHRUNKEN = ["fit", "--config", "compress", "--config", "debug", "--run_dir", "run", "--trainer.max_epochs=1"]


@pytest.fixture(params=[True, False])
def native(request, monkeypatch):
    """A CPU that has native bfloat16, and one that has none."""
    monkeypatch.setattr(precision, "native_bf16", lambda: request.param)
    return request.param


def test_bfloat16_is_used_where_it_is_native(native):
    """On a CPU without it float32 is used, with a line that says so; a GPU gets what was asked for."""
    for asked in ("bf16-mixed", "bf16"):
        used, note = precision.fitting(asked, "cpu")
        assert used == ("bf16-mixed" if native else "32-true")
        assert (note is None) == native
        assert precision.fitting(asked, "cuda") == ("bf16-mixed", None)
    assert precision.fitting(None, "cpu") == precision.fitting(32, "cpu") == ("32-true", None)


def test_a_run_keeps_the_precision_that_it_used(native, workdir, capsys):
    """`config.yaml` has it, one line says why, and the Trainer learned in it."""
    main([*SHRUNKEN, "--trainer.precision", "bf16-mixed"])
    used = yaml.safe_load((workdir / "run/config.yaml").read_text())["trainer"]["precision"]
    assert used == ("bf16-mixed" if native else "32-true")
    assert capsys.readouterr().err.count("bf16-mixed was asked for, 32-true is used") == (not native)


def test_evaluate_fits_its_precision_too(native, make_teacher, workdir, capsys):
    """Its figures name the precision that was used."""
    args = ["--episodes", "1", "--max_frames", "400", "--json", "scores.json"]
    main(["evaluate", make_teacher("pong"), "--precision", "bf16-mixed", *args])
    assert f'"precision": "{"bf16-mixed" if native else "32-true"}"' in (workdir / "scores.json").read_text()
    assert ("no native bfloat16" in capsys.readouterr().err) == (not native)


@pytest.mark.parametrize("asked", ["8", "64-true", "16-mixed"])
def test_other_precisions_are_refused(asked, workdir, make_teacher, monkeypatch, capsys):
    """In one line, which says what is allowed; nothing is left behind."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    for args in ([*SHRUNKEN, "--trainer.precision", asked], ["evaluate", make_teacher("pong"), "--precision", asked]):
        with pytest.raises(SystemExit) as stop:
            main(args)
        assert stop.value.code == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "32-true" in err
        assert "bf16-mixed" in err
        assert "64-true" not in err.replace("is 64-true", "")
    assert not (workdir / "run").exists()
