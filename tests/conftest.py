"""What every test may use: real models, golden text, `needs(...)`, fixed seeds, and the time of each suite.

needs("openvino"), needs("ziglang.__main__")  an importable module
needs("qemu-x86_64"), needs("cc")             an executable on PATH; "qemu" is qemu's x86-64 user emulator
needs("avx512f")                              a flag of this CPU
needs("cuda")                                 a CUDA device that the driver lists
"""

from __future__ import annotations

import difflib
import importlib.util
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from neoc.bench import zoo as zoo_models
from neoc.compile.errors import MissingTool
from neoc.compile.settings import Settings
from neoc.targets.guest import Guest, prepare

TESTS = Path(__file__).parent
SEED = 20240501


# ---- options and markers -------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden from what is generated now")
    parser.addoption("--slow", action="store_true", help="run the tests marked slow as well")


def pytest_configure(config: pytest.Config) -> None:
    # Shells start background jobs with SIGINT ignored, and children inherit that: Ctrl-C could not be tested there.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # One change must not fail for an example that another day would have drawn: `make test` draws the same ones each
    # time, `make test-slow` and `make fuzz` draw anew. Deadlines would judge what else the machine does.
    hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
    hypothesis.settings.register_profile("drawn", deadline=None)
    hypothesis.settings.load_profile("drawn" if config.getoption("--slow") else "repeatable")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = config.getoption("--slow") or "slow" in (config.option.markexpr or "")
    for item in items:
        for marker in item.iter_markers("needs"):
            lacking = [reason for what in marker.args if (reason := lacks(what))]
            if lacking:
                item.add_marker(pytest.mark.skip(reason="; ".join(lacking)))
        if "arm_guest" in getattr(item, "fixturenames", ()) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(900))  # the first of them makes the file system
        if not chosen and item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: make test-slow runs it"))


@cache
def lacks(what: str) -> str:
    """Why this machine does not have `what`; empty where it has."""
    if what == "cuda":
        return "" if _has_cuda() else "needs cuda: no CUDA device"
    name = "qemu-x86_64" if what == "qemu" else what
    found = name in _cpu_flags() or program(name) is not None or _importable(name)
    return "" if found else f"needs {what}: no module, program or CPU flag of that name"


def program(name: str) -> str | None:
    """Where an executable is: on PATH, or in this interpreter's environment, whose bin need not be on PATH."""
    own = Path(sys.executable).with_name(name)
    return shutil.which(name) or (str(own) if own.is_file() else None)


def _importable(name: str) -> bool:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name):
        return False
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@cache
def _cpu_flags() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def _has_cuda() -> bool:
    if shutil.which("nvidia-smi") is None:
        return False
    listing = subprocess.run(["nvidia-smi", "-L"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return listing.returncode == 0 and b"GPU" in listing.stdout


# ---- fixtures ------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(SEED)
    np.random.seed(SEED)


class Zoo:
    """Real models by name: `zoo(name)` is the path of the model, `zoo.data(name)` that of its inputs."""

    def __init__(self) -> None:
        # Read before any test points NEOC_CACHE_DIR at a folder of its own: models are fetched once a machine.
        self._folder = Settings.read().cache_dir / "zoo"
        self._entries: dict[str, zoo_models.ZooEntry] = {}

    def entry(self, name: str) -> zoo_models.ZooEntry:
        if name not in self._entries:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("NEOC_CACHE_DIR", str(self._folder.parent))
                (self._entries[name],) = zoo_models.fetch([name])
        return self._entries[name]

    def __call__(self, name: str) -> Path:
        return self.entry(name).path

    def data(self, name: str) -> Path:
        data = self.entry(name).data
        assert data is not None, f"{name} has no inputs"
        return data

    def samples(self, name: str) -> list[dict[str, np.ndarray]]:
        """The feeds in `data(name)`, one dict a sample."""
        with np.load(self.data(name)) as arrays:
            stacked = {key: arrays[key] for key in arrays.files}
        count = len(next(iter(stacked.values())))
        return [{key: np.asarray(array[i]) for key, array in stacked.items()} for i in range(count)]


@pytest.fixture(scope="session")
def zoo() -> Zoo:
    return Zoo()


@pytest.fixture(scope="session")
def arm_guest() -> Guest:
    """The ARM file system in which qemu runs artifacts: made once a machine, skipped where it cannot be."""
    try:
        return prepare(budget_s=300)
    except MissingTool as error:
        pytest.skip(f"needs the ARM file system: {error.why}")


Golden = Callable[[str, str], None]


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """golden(name, text): the text must equal tests/golden/NAME; `pytest --update-golden` rewrites the file."""
    return lambda name, text: compare_golden(TESTS / "golden" / name, text, request.config.getoption("--update-golden"))


def compare_golden(path: Path, text: str, update: bool) -> None:
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    if not path.is_file():
        pytest.fail(f"{path} does not exist; look at the text, then: pytest --update-golden\n{text}", pytrace=False)
    wanted = path.read_text(encoding="utf-8")
    if text != wanted:
        diff = difflib.unified_diff(wanted.splitlines(), text.splitlines(), str(path), "generated", lineterm="", n=2)
        pytest.fail("\n".join(["generated text changed; if meant so: pytest --update-golden", *diff]), pytrace=False)


# ---- the end of a run ----------------------------------------------------------------------


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    _report_skips(terminalreporter)
    _report_seconds(terminalreporter)


def _report_skips(reporter: pytest.TerminalReporter) -> None:
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in reporter.getreports("skipped")
        if isinstance(report.longrepr, tuple)
    )
    if reasons:
        reporter.write_sep("-", "skipped, by reason")
        for reason, count in reasons.most_common():
            reporter.write_line(f"{count:6d}  {reason}")


def _suite(nodeid: str) -> str:
    """tests/compile/test_x.py::test_y -> compile; a file right under tests/ is its own suite."""
    parts = nodeid.split("::")[0].split("/")
    return parts[1] if len(parts) > 1 else parts[0]


def _report_seconds(reporter: pytest.TerminalReporter) -> None:
    seconds: dict[str, float] = defaultdict(float)
    tests: Counter[str] = Counter()
    for report in _all_reports(reporter):
        seconds[_suite(report.nodeid)] += report.duration
        tests[_suite(report.nodeid)] += report.when == "call"
    if seconds:
        reporter.write_sep("-", "seconds, by suite")
        for suite, spent in sorted(seconds.items(), key=lambda item: -item[1]):
            reporter.write_line(f"{spent:8.1f}  {suite} ({tests[suite]} tests)")


def _all_reports(reporter: pytest.TerminalReporter) -> Iterator[pytest.TestReport]:
    for reports in reporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                yield report
