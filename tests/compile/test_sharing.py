"""Members that are mostly equal: found runs are common, parts make the members again, each run is stored once."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from artifact_samples import EVIDENCE, FACTOR, draft, step, variant
from hypothesis import given, settings
from hypothesis import strategies as st

from neoc.compile.artifact import Artifact, pack
from neoc.compile.digests import Source, blocks
from neoc.compile.errors import InvalidArtifact
from neoc.compile.sharing import LEAST_BYTES, RUN_BYTES, runs, share


def noise(size: int, seed: int) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8).tobytes()


WEIGHTS = noise(400_000, 0)
CHANGED = WEIGHTS[:100_000] + noise(5_000, 1) + WEIGHTS[101_000:250_000] + WEIGHTS[260_000:] + noise(300, 2)


def whole(source: Source) -> bytes:
    return b"".join(bytes(block) for block in blocks(source))


def rebuilt(members: dict[str, Source]) -> tuple[dict[str, bytes], int]:
    """(every member out of its parts, bytes stored)."""
    shared = share(members)
    stored = {name: whole(source) for name, source in shared.sources.items()}
    made = {name: b"".join(stored[part] for part in shared.parts.get(name, (name,))) for name in members}
    return made, sum(map(len, stored.values()))


def test_runs_are_common_and_cover_what_did_not_change() -> None:
    found = runs(WEIGHTS, CHANGED)
    assert all(WEIGHTS[a : a + n] == CHANGED[b : b + n] for a, b, n in found)
    assert sum(n for _, _, n in found) >= 389_000 - 2 * RUN_BYTES
    ends = [(b, b + n) for _, b, n in found]
    assert all(one[1] <= two[0] for one, two in pairwise(ends))


def test_tensors_in_another_order_are_found() -> None:
    parts = [noise(60_000, seed) for seed in range(4)]
    found = runs(b"".join(parts), b"".join(parts[i] for i in (2, 0, 3, 1)))
    assert sum(n for _, _, n in found) > 230_000


@pytest.mark.parametrize("on_disk", [False, True])
def test_members_are_rebuilt_from_parts_and_stored_about_once(tmp_path: Path, on_disk: bool) -> None:
    contents = {"a/w": WEIGHTS, "b/w": CHANGED, "c/w": WEIGHTS[3_000:] + b"end", "d/small": b"x" * 10}
    members: dict[str, Source] = {}
    for number, (name, data) in enumerate(contents.items()):
        if on_disk:
            (tmp_path / str(number)).write_bytes(data)
        members[name] = tmp_path / str(number) if on_disk else data
    made, stored = rebuilt(members)
    assert made == contents
    assert stored < len(WEIGHTS) + 12_000


def test_what_has_nothing_in_common_is_left_alone() -> None:
    members: dict[str, Source] = {"a": noise(LEAST_BYTES, 3), "b": noise(LEAST_BYTES, 4), "c": b"tiny"}
    shared = share(members)
    assert dict(shared.sources) == members
    assert shared.parts == {}


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40_000)), max_size=8), st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_whatever_is_shared_the_members_stay_what_they_are(cuts: list[tuple[int, int]], constant: int) -> None:
    pool = [noise(40_000, seed) for seed in range(5)] + [bytes([constant]) * 40_000]
    base = b"".join(pool)
    other = b"".join(pool[index][start:] for index, start in cuts) + noise(70_000, 9)
    members: dict[str, Source] = {"a": base, "b": other}
    made, stored = rebuilt(members)
    assert made == members
    assert stored <= len(base) + len(other)


def test_constant_and_hostile_bytes_do_not_take_for_ever() -> None:
    start = time.perf_counter()
    for one, two in (
        (bytes(2_000_000), bytes(1_999_999) + b"\1"),
        (b"ab" * 1_000_000, b"ba" * 1_000_000),
        (noise(2_000_000, 1), noise(2_000_000, 2)),
    ):
        made, _ = rebuilt({"a": one, "b": two})
        assert made == {"a": one, "b": two}
    assert time.perf_counter() - start < 20


# ---- in an artifact -------------------------------------------------------------------------------


def packed(folder: Path) -> Artifact:
    one, two = step({FACTOR: "one"}), step({FACTOR: "two"})
    members = {"one": WEIGHTS, "two": CHANGED}
    return pack(folder / "m.neoc", draft(variant(one, id="a"), variant(two, id="b")), members, EVIDENCE)


def test_an_artifact_stores_shared_runs_once_and_reads_and_extracts_whole_members(tmp_path: Path) -> None:
    artifact = packed(tmp_path)
    assert artifact.path.stat().st_size < len(WEIGHTS) + 30_000
    assert bytes(artifact.read(["two"])["two"]) == CHANGED
    assert {name: bytes(view) for name, view in artifact.read(["one", "two"], whole=True).items()} == {
        "one": WEIGHTS,
        "two": CHANGED,
    }
    (file,) = artifact.extract({"weights": "two"}, tmp_path / "out")
    assert file.read_bytes() == CHANGED
    artifact.verify()
    exported = artifact.export(tmp_path / "all")
    assert sorted(len(f.read_bytes()) for f in exported if f.name == FACTOR) == sorted([len(WEIGHTS), len(CHANGED)])


def test_packing_again_gives_the_same_file(tmp_path: Path) -> None:
    one = packed(tmp_path).path.read_bytes()
    assert packed(tmp_path).path.read_bytes() == one


def test_a_flipped_byte_in_a_part_is_found(tmp_path: Path) -> None:
    artifact = packed(tmp_path)
    part = artifact.members()["two"].parts[0]
    with artifact.path.open("r+b") as file:
        file.seek(part.start + 10)
        byte = file.read(1)[0]
        file.seek(part.start + 10)
        file.write(bytes([byte ^ 1]))
    damaged = Artifact.open(artifact.path)
    for read in (damaged.verify, lambda: damaged.read(["one"]), lambda: damaged.extract({"w": "two"}, tmp_path / "o")):
        with pytest.raises(InvalidArtifact, match="sha256"):
            read()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda r: r.update(parts=["nowhere"]), "parts that are not there"),
        (lambda r: r.update(parts=["two"]), "parts that are not there"),
        (lambda r: r.update(parts=r["parts"][1:]), "do not make its"),
        (lambda r: r.update(parts=r["parts"] * 10_000, size=r["size"] * 10_000), "larger than its parts"),
        (lambda r: r.update(parts=3), "is no list"),
    ],
)
def test_a_manifest_that_lies_about_parts_is_refused(tmp_path: Path, change, why: str) -> None:  # type: ignore[no-untyped-def]
    from neoc.compile import manifest as manifests

    artifact = packed(tmp_path)
    facts = dict(artifact.manifest)
    change(facts["members"]["two"])
    facts["content_digest"] = manifests.content_digest(facts)
    sizes = {name: record["size"] for name, record in facts["members"].items() if "parts" not in record}
    with pytest.raises(InvalidArtifact, match=why):
        manifests.check(facts, sizes, "m.neoc")
