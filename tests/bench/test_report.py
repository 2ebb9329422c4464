"""The report: one page, no network, a level on every cell, readable in a browser at desktop and phone width."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import bench_samples
import pytest

from neoc.bench import history, ledger, report, suite
from neoc.cli.app import run
from neoc.compile.errors import InvalidInput
from neoc.compile.machine import fingerprint

pytestmark = pytest.mark.needs("plotly", "jinja2")


def filled(path: Path, nights: int = 12) -> Path:
    """Two models by three engines, one of which got 20 % slower one night; and a target that was only compiled."""
    for night in range(nights):
        results = []
        for index, (subject, engine) in enumerate((("neoc:host", "neoc"), ("onnxruntime",) * 2, ("openvino",) * 2)):
            for model in ("first", "second_with_a_rather_long_name_of_a_model"):
                late = 1.2 if night >= nights // 2 and (engine, model) == ("neoc", "first") else 1.0
                level = 1e6 * (1 + 0.1 * index) * late
                facts = {"engine": engine, "artifact": "d" * 64 if engine == "neoc" else None}
                made = bench_samples.result(subject, bench_samples.medians(level, seed=night), **facts)
                results.append(made | {"model": {"name": model, "sha256": model}})
        found = bench_samples.record_of(results, created=f"2026-01-{night + 1:02d}T02:00:00Z")
        ledger.append(path, ledger.entries_of(found))
    job = suite.Job("zoo:x", None, (), ("inf2",), (), 1, "single-stream", None, 1, 1.0, 6, 1.0, 0.1)
    who = {
        "subject": "neoc:inf2",
        "model": {"name": "first", "sha256": "first"},
        "target": "inf2",
        "engine": "neuron",
        "variant": "v",
        "precision": "fp32",
        "level": "emitted",
        "tools": {},
        "artifact": "e" * 64,
        "bytes": 1,
    }
    ledger.append(path, [suite.level_entry(who, job, fingerprint())])
    return path


@pytest.mark.needs("otava.analysis")
def test_otava_finds_the_night_that_it_changed() -> None:
    (step,) = history.change_points([1.0, 1.01, 0.99, 1.0, 1.01, 1.0, 1.2, 1.21, 1.19, 1.2, 1.21, 1.2], 0.02)
    assert step.at == 6
    assert step.change == pytest.approx(0.2, abs=0.01)
    assert history.change_points([1.0, 1.01] * 10, 0.02) == []


def test_the_page_says_level_tail_verdict_and_change(tmp_path: Path) -> None:
    path = filled(tmp_path / "l.jsonl")
    page = report.render(ledger.read(path))
    table = page[page.index("<tbody>") : page.index("</tbody>")]
    cells = re.findall(r"<td data-label=.*?</td>", table, re.DOTALL)
    shown = [cell for cell in cells if "no entry" not in cell]
    assert len(shown) == 7
    assert all(re.search(r'class="level (executed|emitted)"', cell) for cell in shown)
    assert sum("not measured" in cell for cell in shown) == 1
    assert "n too small (need" not in table or "6636" in table
    if not history.missing():
        assert "+20" in page[page.index("<h2>History") :]
    assert not re.search(r'(?:src|href)="(?!data:)', page.replace(page[page.index("<script>") :], ""))


def test_stand_ins_and_empty_ledgers_are_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").write_text("")
    assert run(["report", str(tmp_path / "empty"), "-o", str(tmp_path / "r.html")]) == 2
    assert not (tmp_path / "r.html").exists()
    entry = ledger.entries_of(bench_samples.record_of([bench_samples.result("s", [1e6] * 12)]))[0]
    (tmp_path / "l").write_bytes(ledger.encode(entry | {"level": "stand-in"}))
    with pytest.raises(InvalidInput, match="stand-in"):
        report.render(ledger.read(tmp_path / "l"))


PROBE = """
<script>
addEventListener("load", () => setTimeout(() => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const out = [...document.querySelectorAll("body *")].filter(e => {
    const box = e.getBoundingClientRect();
    return box.width && !e.closest("svg") && (box.right > innerWidth + 1 || box.left < -1);
  }).map(e => e.tagName + "." + e.className);
  const drawn = document.querySelectorAll(".chart svg.main-svg").length;
  const charts = document.querySelectorAll(".chart").length;
  parent.postMessage(JSON.stringify({wide, out, drawn, charts}), "*");
}, 500));
</script></body>"""


OUTER = """<!DOCTYPE html><html><head><title></title></head><body style="margin:0">
<iframe src="r.html" style="width:{width}px;height:900px;border:0"></iframe>
<script>addEventListener("message", event => document.title = event.data)</script></body></html>"""


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("width", [1280, 375])
def test_a_browser_shows_it_whole_and_says_nothing(tmp_path: Path, width: int) -> None:
    """Nothing is wider than the window and the console stays silent. A frame, since windows cannot be that narrow."""
    page = report.render(ledger.read(filled(tmp_path / "l.jsonl", 6)))
    (tmp_path / "r.html").write_text(page.replace("</body>", PROBE))
    (tmp_path / "outer.html").write_text(OUTER.replace("{width}", str(width)))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000", "--virtual-time-budget=8000"]
    command.append((tmp_path / "outer.html").as_uri())
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<title>(.+?)</title>", done.stdout)
    assert found, done.stderr
    seen = json.loads(found[1].replace("&quot;", '"'))
    assert seen["wide"] <= 0, seen
    assert seen["out"] == []
    assert seen["drawn"] >= seen["charts"] > 3
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
