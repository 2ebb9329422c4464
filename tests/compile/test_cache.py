"""The build cache: never a half-written or damaged entry, whoever writes, dies or runs out of disk meanwhile."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neoc.compile import cache as cache_module
from neoc.compile.cache import BuildCache, digest_of
from neoc.compile.errors import OutputError

KEY = {"program": "a" * 64, "engine": "openvino", "tools.openvino": "2026.3"}
BIG = 1 << 40


@pytest.fixture
def build(tmp_path: Path) -> Path:
    folder = tmp_path / "build"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"weights" * 1000)
    (folder / "sub" / "empty").write_bytes(b"")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[BuildCache]:
    made = BuildCache(tmp_path / "cache", BIG)
    yield made
    made.close()


def of_size(folder: Path, size: int) -> Path:
    folder.mkdir()
    (folder / "data").write_bytes(os.urandom(size))
    return folder


def left_over(cache: BuildCache) -> list[Path]:
    return list((cache.root / "tmp").glob("*"))


# ---- hits ----------------------------------------------------------------------------------------


def test_what_was_put_is_served_to_this_and_to_another_cache(cache: BuildCache, build: Path) -> None:
    assert cache.get(KEY) is None
    put = cache.put(KEY, build)
    for served in (cache.get(KEY), BuildCache(cache.root, BIG).get(dict(reversed(KEY.items())))):
        assert served == put
        assert (served / "model.bin").read_bytes() == b"weights" * 1000
        assert (served / "sub" / "empty").read_bytes() == b""
        assert stat.S_IMODE((served / "run.sh").stat().st_mode) == 0o755
    assert left_over(cache) == []
    (build / "model.bin").write_bytes(b"changed later")
    assert (put / "model.bin").stat().st_size == 7000


@pytest.mark.parametrize("part", [{"engine": "onnxruntime"}, {"tools.openvino": "2026.4"}, {"more": "x"}])
def test_any_other_key_is_a_miss(cache: BuildCache, build: Path, part: dict[str, str]) -> None:
    cache.put(KEY, build)
    assert cache.get({**KEY, **part}) is None


@settings(max_examples=100)
@given(st.dictionaries(st.text(), st.text()), st.dictionaries(st.text(), st.text()))
def test_digests_are_equal_for_equal_keys_alone(a: dict[str, str], b: dict[str, str]) -> None:
    assert (digest_of(a) == digest_of(b)) == (a == b)
    assert digest_of(a) == digest_of(dict(reversed(list(a.items()))))


def test_entries_are_listed_with_the_last_used_first(cache: BuildCache, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        cache.put({"name": name}, of_size(tmp_path / name, 100))
        time.sleep(0.01)
    assert cache.get({"name": "one"}) is not None
    entries = cache.entries()
    assert [entry.key["name"] for entry in entries] == ["one", "three", "two"]
    assert [entry.bytes for entry in entries] == [100] * 3
    assert json.loads(json.dumps(entries[0].as_dict()))["digest"] == digest_of({"name": "one"})
    assert entries[0].last_used > entries[0].created


# ---- why a miss --------------------------------------------------------------------------------


def test_a_miss_names_the_part_that_changed(cache: BuildCache, build: Path) -> None:
    assert cache.explain(KEY) == "the cache is empty"
    cache.put(KEY, build)
    cache.put({**KEY, "engine": "onnxruntime", "program": "c" * 64}, build)
    assert cache.explain({**KEY, "tools.openvino": "2026.4"}) == "tools.openvino: 2026.3 -> 2026.4"
    assert cache.explain({**KEY, "program": "b" * 64}) == f"program: {'a' * 12} -> {'b' * 12}"
    assert cache.explain({**KEY, "neoc": "0.2"}) == "neoc: (none) -> 0.2"
    without = {name: part for name, part in KEY.items() if name != "tools.openvino"}
    assert cache.explain(without) == "tools.openvino: 2026.3 -> (none)"
    both = cache.explain({**KEY, "tools.openvino": "x", "engine": "y"})
    assert both == "engine: openvino -> y; tools.openvino: 2026.3 -> x"
    assert "in the cache" in cache.explain(KEY)
    assert len(cache.explain({**KEY, "engine": "long" * 500})) < 120


# ---- damage --------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda e: flip(e / "content" / "model.bin"), "model.bin has other bytes"),
        (lambda e: (e / "content" / "model.bin").write_bytes(b"short"), "model.bin has 5 bytes"),
        (lambda e: (e / "content" / "run.sh").unlink(), "run.sh"),
        (lambda e: (e / "content" / "new").write_text("x"), "new"),
        (lambda e: (e / "entry.json").write_text("{"), "entry.json is broken"),
        (lambda e: (e / "entry.json").write_text('{"files": 3, "key": {}}'), "entry.json is broken"),
        (lambda e: (e / "entry.json").unlink(), "entry.json cannot be read"),
        (lambda e: (e / "entry.json").write_text('{"files": {}, "key": {}}'), "another key"),
    ],
)
def test_a_damaged_entry_is_named_dropped_and_built_again(cache: BuildCache, build: Path, damage, named) -> None:  # type: ignore[no-untyped-def]
    entry = cache.put(KEY, build).parent
    damage(entry)
    assert cache.get(KEY) is None
    assert len(cache.notes) == 1
    assert named in cache.notes[0]
    assert named in cache.explain(KEY)
    assert not entry.exists()
    assert cache.put(KEY, build) == entry / "content"
    assert cache.get(KEY) is not None
    assert left_over(cache) == []


def test_put_replaces_a_damaged_entry_of_the_same_key(cache: BuildCache, build: Path) -> None:
    content = cache.put(KEY, build)
    cache.close()
    flip(content / "model.bin")
    other = BuildCache(cache.root, BIG)
    assert (other.put(KEY, build) / "model.bin").read_bytes() == b"weights" * 1000


# ---- the limit -----------------------------------------------------------------------------------


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    for name in ("a", "b", "c"):
        BuildCache(root, 3000).put({"name": name}, of_size(tmp_path / name, 1000))
        time.sleep(0.01)
    assert BuildCache(root, 3000).get({"name": "a"}) is not None
    time.sleep(0.01)
    writer = BuildCache(root, 3000)
    writer.put({"name": "d"}, of_size(tmp_path / "d", 1500))
    assert [entry.key["name"] for entry in writer.entries()] == ["d", "a"]
    assert "evicted" in writer.explain({"name": "b"})


def test_what_is_in_use_is_neither_evicted_nor_cleared(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    user = BuildCache(root, 1000)
    served = user.put({"name": "used"}, of_size(tmp_path / "used", 900))
    writer = BuildCache(root, 1000)
    writer.put({"name": "new"}, of_size(tmp_path / "new", 900))
    assert (served / "data").exists()
    writer.close()
    assert [entry.key["name"] for entry in BuildCache(root, 1000).clear()] == ["new"]
    assert (served / "data").exists()
    user.close()
    assert [entry.key["name"] for entry in BuildCache(root, 1000).clear()] == ["used"]
    assert not served.exists()


def test_an_entry_larger_than_the_limit_is_kept_alone(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    BuildCache(root, 1000).put({"name": "small"}, of_size(tmp_path / "small", 10))
    cache = BuildCache(root, 1000)
    assert cache.put({"name": "large"}, of_size(tmp_path / "large", 5000)).exists()
    assert [entry.key["name"] for entry in cache.entries()] == ["large"]


def test_clear_leaves_nothing_and_tells_what_it_removed(cache: BuildCache, build: Path) -> None:
    assert cache.clear() == []
    cache.put(KEY, build)
    (cache.root / "entries" / "stray").mkdir()
    removed = cache.clear()
    assert [entry.key for entry in removed] == [KEY]
    assert [p for p in cache.root.rglob("*") if p.is_file()] == []
    assert cache.get(KEY) is None


# ---- places that cannot be written ---------------------------------------------------------------


def test_a_place_that_is_no_folder_reads_as_empty_and_refuses_to_store(tmp_path: Path, build: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = BuildCache(tmp_path / "file" / "cache", BIG)
    assert cache.get(KEY) is None
    assert cache.entries() == []
    assert cache.clear() == []
    assert cache.explain(KEY) == "the cache is empty"
    with pytest.raises(OutputError, match=r"Not a directory.*NEOC_CACHE_DIR"):
        cache.put(KEY, build)
    assert (build / "model.bin").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_may_only_be_read_serves_and_refuses_to_store(cache: BuildCache, build: Path) -> None:
    cache.put(KEY, build)
    folders = [cache.root, *(p for p in cache.root.rglob("*") if p.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        reader = BuildCache(cache.root, BIG)
        assert reader.get(KEY) is not None
        with pytest.raises(OutputError):
            reader.put({"other": "key"}, build)
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_a_disk_that_fills_up_leaves_nothing_half_written(cache: BuildCache, tmp_path: Path) -> None:
    cache.put(KEY, of_size(tmp_path / "small", 1000))
    large = of_size(tmp_path / "large", 1 << 20)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, hard))
    try:
        with pytest.raises(OutputError, match="the build cache cannot be written"):
            cache.put({"name": "large"}, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left_over(cache) == []
    assert [entry.key for entry in cache.entries()] == [KEY]
    assert cache.get({"name": "large"}) is None
    assert cache.put({"name": "large"}, large).exists()


@pytest.mark.parametrize("at", ["fsync", "rename"])
def test_no_space_at_the_last_step_is_an_output_error(
    cache: BuildCache, build: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache_module.os, at, full)
    with pytest.raises(OutputError, match="No space left on device"):
        cache.put(KEY, build)
    monkeypatch.undo()
    assert left_over(cache) == []
    assert cache.get(KEY) is None


def test_a_pipe_among_the_files_is_refused_and_not_waited_for(cache: BuildCache, build: Path) -> None:
    os.mkfifo(build / "pipe")
    with pytest.raises(OutputError, match="not a regular file"):
        cache.put(KEY, build)
    assert left_over(cache) == []


# ---- several processes ---------------------------------------------------------------------------

WRITER = """
import sys, time
from pathlib import Path
from neoc.compile import cache
from neoc.compile.cache import BuildCache
root, folder, slow = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "slow"
copy = cache._copy
def slowly(source, target):
    done = copy(source, target)
    if slow:
        print("copied", flush=True)
        time.sleep(600)
    return done
cache._copy = slowly
sys.stdin.readline()
for i in range(20):
    made = BuildCache(root, 1 << 40)
    made.put({"name": "contested", "round": str(i)}, folder)
    sys.stdout.write((made.get({"name": "contested", "round": str(i)}) / "who").read_text() + " ")
"""


def writer(root: Path, folder: Path, pace: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), str(folder), pace],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_writers_of_one_key_agree_on_one_whole_entry(tmp_path: Path) -> None:
    root, running = tmp_path / "cache", []
    for name in ("ann", "bob", "cyd"):
        folder = of_size(tmp_path / name, 50_000)
        (folder / "who").write_text(name)
        running.append(writer(root, folder, "fast"))
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(answers[0]) == 20
    assert answers[0] == answers[1] == answers[2]
    cache = BuildCache(root, BIG)
    for i, who in enumerate(answers[0]):
        served = cache.get({"name": "contested", "round": str(i)})
        assert served is not None
        assert (served / "data").read_bytes() == (tmp_path / who / "data").read_bytes()
    assert left_over(cache) == []


def test_a_writer_that_is_killed_leaves_nothing_that_is_served_and_is_swept(tmp_path: Path, build: Path) -> None:
    root = tmp_path / "cache"
    process = writer(root, build, "slow")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "copied\n"
    cache = BuildCache(root, BIG)
    cache.put(KEY, build)
    assert len(left_over(cache)) == 1, "what is being written must not be swept"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert cache.get({"name": "contested", "round": "0"}) is None
    assert [entry.key for entry in cache.entries()] == [KEY]
    cache.put({**KEY, "engine": "x"}, build)
    assert left_over(cache) == []
