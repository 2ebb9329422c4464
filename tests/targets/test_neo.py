"""Every one of SageMaker Neo's device names gets an answer."""

from __future__ import annotations

import pytest

from neoc.compile.errors import UsageError
from neoc.compile.registry import target_names
from neoc.targets import get_target, neo_names
from neoc.targets.neo import NEAREST, NEO_NAMES, RETIRED, SERVED

# The TargetDevice enumeration of SageMaker's service model, as botocore 1.43 carries it.
TARGET_DEVICES = (
    *("lambda", "ml_m4", "ml_m5", "ml_m6g", "ml_c4", "ml_c5", "ml_c6g", "ml_p2", "ml_p3", "ml_g4dn", "ml_inf1"),
    *("ml_inf2", "ml_trn1", "ml_eia2", "jetson_tx1", "jetson_tx2", "jetson_nano", "jetson_xavier", "rasp3b", "rasp4b"),
    *("imx8qm", "deeplens", "rk3399", "rk3288", "aisage", "sbe_c", "qcs605", "qcs603", "sitara_am57x", "amba_cv2"),
    *("amba_cv22", "amba_cv25", "x86_win32", "x86_win64", "coreml", "jacinto_tda4vm", "imx8mplus"),
)


def test_all_names_are_there_and_no_other() -> None:
    assert len(TARGET_DEVICES) == 37
    assert set(NEO_NAMES) == set(TARGET_DEVICES)
    assert [row.name for row in neo_names()] == list(NEO_NAMES)


@pytest.mark.parametrize("name", TARGET_DEVICES)
def test_every_name_resolves_or_says_what_is_nearest(name: str) -> None:
    row = NEO_NAMES[name]
    assert row.why
    assert row.target == "" or row.target in target_names()
    if row.status == SERVED:
        assert get_target(name).name == row.target
        assert get_target(name.replace("_", "-")) is get_target(name)
        return
    with pytest.raises(UsageError) as caught:
        get_target(name)
    text = str(caught.value)
    assert name in text
    assert row.why in text
    assert {"retired": "retired", "nearest": "not served yet"}[row.status] in text
    if row.target:
        assert f"--target {row.target}" in text


def test_chips_are_named_for_what_they_are() -> None:
    assert get_target("ml_c5").level == "x86-64-v4"
    assert get_target("ml_c4").level == get_target("ml_m4").level == "x86-64-v3"
    assert get_target("ml_inf2").arch == "neuron"
    assert NEO_NAMES["ml_eia2"].status == NEO_NAMES["deeplens"].status == RETIRED
    assert (NEO_NAMES["ml_p2"].status, NEO_NAMES["ml_p2"].target) == (NEAREST, "x86-64-v3")


def test_rows_are_json() -> None:
    assert NEO_NAMES["ml_c5"].as_dict() == {
        "name": "ml_c5",
        "status": "served",
        "target": "x86-64-v4",
        "why": "Skylake-SP and later: AVX-512",
    }
