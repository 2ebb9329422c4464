"""`--option form=shared`, from model files to C programs whose results are those of the session."""

from __future__ import annotations

import ctypes
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_models import called, program
from tree_models import rows_for, same_bits

from neoc.bench import tree_recipes as trained_trees
from neoc.compile import compile_model
from neoc.compile.contracts import EngineOptions, Target
from neoc.compile.errors import OutputError, UnsupportedModel, UsageError
from neoc.compile.frontends import load
from neoc.compile.options import CompileOptions
from neoc.targets import get_target, open_artifact
from neoc.targets.engines import trees_standalone
from neoc.targets.engines.trees import Trees
from neoc.targets.engines.trees_program import take_apart

pytestmark = pytest.mark.needs("llvmlite", "xgboost")

SHARED = CompileOptions(pairs=(("form", "shared"),))


@pytest.fixture(scope="module")
def booster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found, _, _ = trained_trees.xgboost(trained_trees.XGBOOST["binary"])
    path = tmp_path_factory.mktemp("booster") / "churn.json"
    found.save_model(path)
    return path


def rows_of(path: Path, count: int = 700) -> np.ndarray:
    return rows_for(take_apart(load(path, {})).ensemble, count, infinite=False)


@pytest.mark.needs("gcc")
def test_compiled_linked_and_called_from_c(booster: Path, tmp_path: Path) -> None:
    place = tmp_path / "churn.host.neoc"
    artifact = compile_model(booster, "host", replace(SHARED, race_seconds=0.5), output=place)
    assert artifact.variant()["steps"][0]["engine"] == "trees"
    assert artifact.level == "executed"
    header, library = tmp_path / "churn.host.h", tmp_path / "churn.host.so"
    assert "neoc_predict, neoc_margin, neoc_label, neoc_probability" in artifact.manifest["notes"][-1]
    made = program(tmp_path, header, library, ["float32"] * 3)
    rows = rows_of(booster)
    found = called(made, rows, [("float32", (700,))] * 2)
    with open_artifact(place) as session:
        want = session.run({"features": rows})
    assert same_bits(found[1], want["margin"])
    assert same_bits(found[0], want["prediction"])
    assert np.ptp(found[0]) > 0.3
    assert "native/trees/outputs.bin" in artifact.members()
    code = """
import sys, numpy as np
from neoc.targets import open_artifact
with open_artifact(sys.argv[1]) as s:
    s.run({"features": np.zeros((3, 8), np.float32)})
print([m for m in sys.modules if m.split(".")[0] in ("llvmlite", "numba", "onnx", "onnx_ir", "onnxruntime")])
"""
    done = subprocess.run([sys.executable, "-c", code, str(place)], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
    exported = artifact.export(tmp_path / "out")
    assert tmp_path / "out/native/trees/standalone/model.so" in exported
    assert (tmp_path / "out/native/trees/standalone/model.so").read_bytes() == library.read_bytes()


@pytest.mark.parametrize(
    ("arch", "gcc", "emulator"),
    [
        pytest.param(
            "aarch64",
            "aarch64-linux-gnu",
            ("qemu-aarch64", "-cpu", "cortex-a72"),
            marks=pytest.mark.needs("qemu-aarch64", "aarch64-linux-gnu-gcc"),
        ),
        pytest.param(
            "armv7",
            "arm-linux-gnueabihf",
            ("qemu-arm", "-cpu", "cortex-a7"),
            marks=pytest.mark.needs("qemu-arm", "arm-linux-gnueabihf-gcc"),
        ),
    ],
)
def test_a_board_without_python_gives_what_the_session_gives_here(
    arch: str, gcc: str, emulator: tuple[str, ...], booster: Path, tmp_path: Path
) -> None:
    """The shared object, loaded by the system's own dynamic linker under emulation."""
    target = get_target("rasp4b" if arch == "aarch64" else "rasp3b")
    parts = built(booster, tmp_path / "arm", target)
    made = program(tmp_path, parts["model.h"], parts["model.so"], ["float32"] * 3, f"{gcc}-gcc")
    rows = rows_of(booster)
    found = called(made, rows, [("float32", (700,))] * 2, (*emulator, "-L", f"/usr/{gcc}"))
    want = session_of(booster, tmp_path / "here").run({"features": rows})
    assert same_bits(found[1], want["margin"])
    assert same_bits(found[0], want["prediction"])


def built(path: Path, folder: Path, target: Target, **pairs: str) -> dict[str, Path]:
    """The standalone members by file name."""
    engine, program_ = Trees(), load(path, {})
    folder.mkdir()
    options = EngineOptions(pairs=(("form", "shared"), *pairs.items()))
    made = engine.build(program_, target, engine.variants(program_, target, options)[0], folder)
    return {Path(name).name: p for name, p in made.members.items() if name.startswith("standalone/")}


def session_of(path: Path, folder: Path) -> Any:
    engine, program_, target = Trees(), load(path, {}), get_target("host")
    folder.mkdir()
    variant = engine.variants(program_, target, EngineOptions())[0]
    made = engine.build(program_, target, variant, folder)
    members = {n: memoryview(p.read_bytes()) for n, p in made.members.items()}
    return engine.open(members, program_.signature, variant, 1, None)


@pytest.mark.needs("gcc", "lightgbm")
def test_lightgbm_takes_doubles(tmp_path: Path) -> None:
    found, _ = trained_trees.lightgbm(trained_trees.LIGHTGBM["multiclass"])
    path = tmp_path / "wine.txt"
    found.save_model(path)
    parts = built(path, tmp_path / "c", get_target("host"))
    assert "int neoc_predict(const double *features, size_t rows, double *out);" in parts["model.h"].read_text()
    made = program(tmp_path, parts["model.h"], parts["model.so"], ["float64"] * 3)
    rows = rows_of(path)
    prediction, margin = called(made, rows, [("float64", (700, 3))] * 2)
    assert same_bits(margin, found.predict(rows, raw_score=True))
    np.testing.assert_array_max_ulp(prediction, found.predict(rows), 4)


@pytest.mark.needs("lightgbm")
def test_a_model_that_changes_its_features_first_is_refused(tmp_path: Path) -> None:
    found, _ = trained_trees.lightgbm(trained_trees.LIGHTGBM["zero-as-missing"])
    found.save_model(tmp_path / "m.txt")
    with pytest.raises(UnsupportedModel, match="before the trees"):
        built(tmp_path / "m.txt", tmp_path / "c", get_target("host"))


@pytest.mark.needs("sklearn", "skops")
def test_classes_that_are_texts(tmp_path: Path) -> None:
    import skops.io
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    y = np.array(["setosa", "virginica", 'a "b"'])[(x[:, 0] * 2).astype(int) % 3]
    model = RandomForestClassifier(7, max_depth=4, random_state=0).fit(x, y)
    path = tmp_path / "iris.skops"
    skops.io.dump(model, path)
    parts = built(path, tmp_path / "c", get_target("host"), prefix="iris")
    text = parts["model.h"].read_text()
    assert "int iris_predict(const float *features, size_t rows, int64_t *out);" in text
    assert 'iris_predict_texts[3] = {"a \\042b\\042", "setosa", "virginica"};' in text
    library = ctypes.CDLL(str(parts["model.so"]))
    numbers, shares = np.zeros(300, np.int64), np.zeros((300, 3))
    for function, out in ((library.iris_predict, numbers), (library.iris_probability, shares)):
        assert function(ctypes.c_void_p(x.ctypes.data), ctypes.c_size_t(300), ctypes.c_void_p(out.ctypes.data)) == 0
    assert (model.classes_[numbers] == model.predict(x)).all()
    np.testing.assert_allclose(shares, model.predict_proba(x), rtol=1e-12)
    assert len(set(numbers)) == 3


def test_without_a_linker_header_and_object_are_there(
    booster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees_standalone, "linker_for", lambda triple: None)
    engine, program_, target = Trees(), load(booster, {}), get_target("aarch64")
    variant = engine.variants(program_, target, EngineOptions(pairs=(("form", "shared"),)))[0]
    assert variant.get("linker") == "none"
    made = engine.build(program_, target, variant, tmp_path)
    assert {n for n in made.members if "/" in n} == {"standalone/model.h", "standalone/model.o"}
    assert "aarch64-linux-gnu-gcc -shared -o model.so model.o" in made.notes[-1]


def test_what_cannot_be_is_said(booster: Path, tmp_path: Path) -> None:
    for pairs, why in (
        ((("form", "static"),), "no form 'static'"),
        ((("prefix", "x"),), "of no use alone"),
        ((("form", "shared"), ("prefix", "9x")), "cannot begin"),
    ):
        with pytest.raises(UsageError, match=why):
            compile_model(booster, "host", CompileOptions(pairs=pairs), output=tmp_path / "m.neoc")
    with pytest.raises(UsageError, match="takes the option form"):
        compile_model(booster, "host", replace(SHARED, engines=("onnxruntime",)), output=tmp_path / "m.neoc")
    assert not list(tmp_path.iterdir())


@pytest.mark.needs("gcc")
def test_no_file_of_the_users_is_overwritten(booster: Path, tmp_path: Path) -> None:
    """An artifact that is there shows that the files beside it are an earlier compilation's."""
    options = replace(SHARED, race_seconds=0.5, engines=("trees",))
    (tmp_path / "m.h").write_text("mine")
    with pytest.raises(OutputError, match="overwritten"):
        compile_model(booster, "host", options, output=tmp_path / "m.neoc")
    assert [p.name for p in tmp_path.iterdir()] == ["m.h"]
    (tmp_path / "m.neoc").write_bytes(b"of before")
    (tmp_path / "m.so").write_bytes(b"of before")
    compile_model(booster, "host", options, output=tmp_path / "m.neoc")
    assert "neoc_predict" in (tmp_path / "m.h").read_text()
    assert (tmp_path / "m.so").read_bytes()[:4] == b"\x7fELF"


def test_names_of_outputs_become_functions() -> None:
    names = [e.name for e in trees_standalone.exports_of(["margin", "prediction", "odds:1"], [(), (), ()], "m")]
    assert names == ["m_margin", "m_predict", "m_odds_1"]
    assert [e.name for e in trees_standalone.exports_of(["variable"], [()], "m")] == ["m_predict"]
    with pytest.raises(UnsupportedModel, match="one C function"):
        trees_standalone.exports_of(["a", "b:c", "b.c"], [(), (), ()], "m")


def test_a_row_alone_gives_what_it_gives_among_others(booster: Path, tmp_path: Path) -> None:
    """One native call for trees and outputs; whatever is asked for, and however the row lies in memory."""
    from concurrent.futures import ThreadPoolExecutor

    session = session_of(booster, tmp_path / "new")
    rows = rows_of(booster, 60)
    want = session.run({"features": rows})
    names = list(want)
    for asked in (None, ["prediction"], ["label", "margin"], ["margin"], ["label", "probability"], names[::-1]):
        for k in range(0, 60, 7):
            for row in (rows[k : k + 1], np.asfortranarray(np.repeat(rows, 2, axis=1))[k : k + 1, ::2]):
                got = session.run({"features": row}, asked)
                assert list(got) == (asked or names)
                assert all(same_bits(got[name], want[name][k : k + 1]) for name in got), (asked, k)
    first = session.run({"features": rows[:1]})
    for value in first.values():
        value[...] = 0
    assert same_bits(session.run({"features": rows[:1]})["probability"], want["probability"][:1])

    def one(k: int) -> bool:
        return same_bits(session.run({"features": rows[k : k + 1]})["prediction"], want["prediction"][k : k + 1])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(one, list(range(60)) * 20))


def test_an_artifact_made_before_opens(tmp_path: Path, booster: Path) -> None:
    """With no compiled part behind the trees, all the steps are numpy's, and the results agree."""
    session = session_of(booster, tmp_path / "new")
    rows = rows_of(booster)
    want = session.run({"features": rows})
    parts = take_apart(load(booster, {}))
    folder = tmp_path / "new"
    members = {p.name: memoryview(p.read_bytes()) for p in folder.iterdir() if p.is_file()}
    facts = json.loads(bytes(members["steps.json"])) | {"steps": list(parts.steps)}
    del facts["finished"], members["outputs.bin"]
    constants = io.BytesIO()
    np.savez(constants, allow_pickle=False, **parts.constants)
    members |= {"steps.json": memoryview(json.dumps(facts).encode()), "constants.npz": memoryview(constants.getvalue())}
    program_ = load(booster, {})
    old = Trees().open(
        members, program_.signature, Trees().variants(program_, get_target("host"), EngineOptions())[0], 1, None
    )
    found = old.run({"features": rows})
    assert same_bits(found["margin"], want["margin"])
    for name in want:
        np.testing.assert_allclose(found[name], want[name], rtol=0, atol=2e-7)
