"""The house's rules that a linter holds."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXTS = [*sorted(path.name for path in ROOT.glob("*.*") if path.is_file()), "distill", "callbacks", "conf", "tests"]


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "ruff", "check", "."],
        ["-m", "ruff", "format", "--check", "."],
        ["-m", "codespell_lib", *TEXTS],
        ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache"],
    ],
    ids=["lint", "format", "spelling", "imports"],
)
def test_a_linter_finds_nothing(command):
    """Lint, format, spelling and the import contract hold."""
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_hint_installs_something():
    """What a message or a config says to install is a package of its own, or an extra that this one has."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    hints = []
    for path in (*(ROOT / "distill").rglob("*.py"), *(ROOT / "conf").rglob("*.yaml")):
        hints += re.findall(r'pip install (?:"[^"]*"|\S+)', path.read_text())
    assert len(hints) >= 4
    allowed = {*(f'pip install "distill[{extra}]"' for extra in extras), "pip install sweeps"}
    assert set(hints) <= allowed


def test_packages_only_say_what_they_are():
    """The `__init__.py` of a folder holds a docstring and nothing else; that of `distill` also its public names."""
    for path in (*(ROOT / "distill").rglob("*/__init__.py"), *(ROOT / "callbacks").rglob("__init__.py")):
        body = ast.parse(path.read_text()).body
        assert len(body) == 1
        assert isinstance(body[0].value, ast.Constant)


def test_a_name_has_one_meaning():
    """No two modules define the same name at their top level, so a name can be searched for, and means one thing."""
    where = defaultdict(set)
    for path in (path for folder in ("distill", "callbacks") for path in (ROOT / folder).rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                where[node.name].add(path)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = (name for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
                for name in names:
                    where[name.id].add(path)
    assert len(where) > 500
    assert {name: sorted(map(str, paths)) for name, paths in where.items() if len(paths) > 1} == {}
