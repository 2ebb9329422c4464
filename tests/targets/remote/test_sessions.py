"""A device's folders: cleared by their own connection, or by the next one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from neoc.targets.remote import sessions

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


def test_a_folder_that_somebody_holds_is_left_alone(tmp_path: Path) -> None:
    first = sessions.begin(tmp_path)
    second = sessions.begin(tmp_path)
    assert second.swept == ()
    assert first.path.is_dir()
    assert (second.files.is_dir(), second.scratch.is_dir()) == (True, True)
    os.close(first.lock)
    third = sessions.begin(tmp_path)
    assert third.swept == (first.path.name,)
    assert not first.path.exists()
    assert second.path.is_dir()
    for folder in (second, third):
        os.close(folder.lock)


def test_what_a_dead_connection_left_running_is_ended(tmp_path: Path) -> None:
    dead = tmp_path / "session-dead"
    (dead / "tmp").mkdir(parents=True)
    (dead / "tmp" / "litter").write_text("x")
    left = subprocess.Popen(SLEEPER, env={**os.environ, sessions.MARK: dead.name}, stdout=subprocess.PIPE)
    other = subprocess.Popen(SLEEPER, env={**os.environ, sessions.MARK: "session-alive"}, stdout=subprocess.PIPE)
    try:
        for process in (left, other):
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
        assert sessions.sweep(tmp_path) == [dead.name]
        assert left.wait(10) == -9
        assert other.poll() is None
        assert not dead.exists()
    finally:
        for process in (left, other):
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def test_a_folder_is_removed_although_a_dying_process_still_writes(tmp_path: Path) -> None:
    folder = sessions.begin(tmp_path)
    script = f"import time\nfor i in range(40):\n  open(r'{folder.scratch}/' + str(i), 'w'); time.sleep(0.01)"
    writer = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, sessions.MARK: folder.path.name})
    try:
        until = time.monotonic() + 10
        while not list(folder.scratch.iterdir()) and time.monotonic() < until:
            time.sleep(0.005)
        os.close(folder.lock)
        sessions.sweep(tmp_path)
        assert not folder.path.exists()
    finally:
        writer.kill()
        writer.wait()
