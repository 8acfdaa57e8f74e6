"""What `import distill` gives."""

import subprocess
import sys

import pytest

import distill


def test_each_public_name_is_there():
    """Each is what its module defines, and all are listed; another name is refused with these."""
    for name, module in distill.PUBLIC.items():
        assert getattr(distill, name).__module__ == module
        assert name in dir(distill)
    with pytest.raises(AttributeError, match="it has StudentModule, TeacherModule"):
        distill.Student  # noqa: B018


def test_importing_it_loads_no_library():
    """Nothing is imported before it is asked for."""
    program = "import sys, distill; print({'torch', 'lightning', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
