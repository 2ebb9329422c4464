"""The device's process: `python -P -m neoc.targets.remote.device_main`, started through ssh by link.py.

Readies the process and imports nothing heavy; device_serve.py answers. Its connection is its standard input and output:
when they end, the guardian ends everything that was started here and removes every file that was sent.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from functools import partial

from neoc.compile.settings import Settings
from neoc.compile.worker_main import PR_SET_CHILD_SUBREAPER, process_control, start_guardian, take_over_pipes
from neoc.targets.remote import sessions

IDLE_S = 3600.0
"""a connection over which nothing was asked for this long has lost its other side without a word"""


def main() -> None:
    reading, writing = take_over_pipes()
    with suppress(PermissionError):  # sshd has made a session, and so a group, for us already
        os.setpgid(0, 0)
    folder: sessions.Folder | None = None
    fault: OSError | None = None
    guardian: int | None = None
    try:
        folder = sessions.begin(Settings.read().cache_dir / "device")
    except OSError as error:  # no room, no permission: told in the first message
        fault = error
    if folder is not None:
        prctl = process_control()
        guardian = start_guardian(reading, writing, prctl, partial(sessions.clear, folder))
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        os.environ[sessions.MARK] = folder.path.name
        os.environ["TMPDIR"] = str(folder.scratch)
        os.chdir(folder.scratch)

    import faulthandler

    faulthandler.enable()
    from neoc.compile.worker_serve import serve
    from neoc.targets.remote.device_serve import DeviceOperations

    serve(reading, writing, DeviceOperations(folder=folder, fault=fault), IDLE_S)
    if folder is not None and guardian is not None:
        os.chdir("/")
        os.kill(guardian, signal.SIGKILL)
        os.waitpid(guardian, 0)
        sessions.clear(folder)
    os._exit(0)


if __name__ == "__main__":
    main()
