"""What `pip install` of a built wheel gives, away from the checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent


def test_a_wheel_works_outside_the_checkout(tmp_path):
    """The built wheel alone, in another folder, distils the shipped teacher by the names of its configs."""
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path / "wheels", ROOT], check=True)
    (wheel,) = (tmp_path / "wheels").iterdir()
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "installed", wheel], check=True)
    command = [sys.executable, "-m", "distill", "fit", "--config", "compress", "--config", "debug", "--run_dir", "run"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=300)
    assert (tmp_path / "run" / "student.safetensors").is_file()
    where = [sys.executable, "-c", "import distill, callbacks; print(distill.__file__, callbacks.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    assert found.count(str(tmp_path / "installed")) == 2
