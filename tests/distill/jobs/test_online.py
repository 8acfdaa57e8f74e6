"""`online`: a teacher that learns and its students, as processes side by side, on real Pong."""

import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from distill.cli import main

OVERLAY = ["--teacher.config", "conf/debug.yaml", "--student.config", "conf/debug.yaml", "--student.model.network=net3"]
SHORT = ["--config", "conf/online.yaml", *OVERLAY, "--run_dir", "pair"]


@pytest.mark.slow
def test_without_its_teacher_no_student_goes_on(workdir, capsys):
    """Where the teacher's run fails, its reason is the last line, and a student that has begun never ends its run."""
    with pytest.raises(SystemExit) as stop:
        main(["online", *SHORT, "--teacher.model.learning_rate", "1e30"])
    assert stop.value.code == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert "teacher (" in last
    assert not (workdir / "pair" / "student0" / "scores.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_interrupted_it_leaves_nothing_running(workdir, how, code):
    """However it is asked to stop, it stops its runs, and each says how it goes on."""
    long = ["--teacher.trainer.max_epochs=1000", "--student.trainer.max_epochs=1000"]
    command = [sys.executable, "-m", "distill", "online", *SHORT, *long]
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup has had ignored, and a child would ignore, too
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGHUP, before)
        for line in process.stderr:
            if re.match(r"\[3/3\] student1 .* hour [1-9]", line):
                break
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 3
        process.send_signal(how)
        began = time.monotonic()
        _, said = process.communicate(timeout=60)
        assert time.monotonic() - began < 30
        assert process.returncode == code
        assert "interrupted" in said
        assert "go on with: python -m distill online " in said
    assert not psutil.wait_procs(children, timeout=5)[1]
    for name in ("teacher", "student0", "student1"):
        assert "resume with" in (workdir / "pair" / f"{name}.log").read_text()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--seeds", "[0, 0]"], "none twice"),
        (["--seeds", "[]"], "one at least"),
        (["--teacher", "conf/teacher_fast.yaml"], "keeps no best networks; set model.score_every_hours"),
        (["--student", "conf/compress.yaml"], "does not follow its teacher"),
        (["--student", "nowhere.yaml"], "nowhere.yaml"),
        (["--student", "broken.yaml"], "is no config"),
        (["--run_dir", "conf"], "is not empty"),
        (["--teacher.model.learning_rate", "-1"], "learning_rate is -1"),
        (["--student.model.temprature", "1"], "did you mean temperature?"),
        (["--student.data.game", "breakout"], "plays pong, not breakout"),
    ],
)
def test_mistakes(workdir, capsys, args, message):
    """One line says what is wrong, before anything begins."""
    (workdir / "broken.yaml").write_text("a: [")
    with pytest.raises(SystemExit) as stop:
        main(["online", *SHORT, *args])
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (workdir / "pair" / "teacher").exists()
