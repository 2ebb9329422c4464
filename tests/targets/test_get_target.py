"""Names of targets: entry points, aliases, Neo's spellings, and what to say of all others."""

from __future__ import annotations

import pytest

from neoc.compile.errors import UsageError
from neoc.targets import all_targets, get_target


def test_exact_names() -> None:
    assert get_target("x86-64-v3").name == "x86-64-v3"
    assert get_target("host").arch == "x86_64"
    assert get_target("inf2").name == "inf2"


def test_aliases() -> None:
    assert get_target("inferentia2") is get_target("inf2")
    assert get_target("arm64") is get_target("aarch64")
    assert get_target("ml_m5") is get_target("ml-m5") is get_target("x86-64-v4")
    assert get_target("ML_C5").name == "x86-64-v4"


@pytest.mark.parametrize(
    ("wrong", "meant"), [("x86-64v3", "x86-64-v3"), ("hots", "host"), ("inf-2", "inf2"), ("aarch-64", "aarch64")]
)
def test_did_you_mean(wrong: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{meant}'") as caught:
        get_target(wrong)
    assert caught.value.exit_status == 2


def test_nothing_near() -> None:
    with pytest.raises(UsageError, match="there is no target named 'zx-spectrum'") as caught:
        get_target("zx-spectrum")
    assert "did you mean" not in str(caught.value)
    assert "x86-64-v4" in str(caught.value)


def test_all_targets_are_there_once() -> None:
    found = [target.name for target in all_targets()]
    assert {"x86-64", "x86-64-v3", "x86-64-v4", "aarch64", "inf2"} <= set(found)
    aliases = [alias for target in all_targets() for alias in target.aliases]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(found)
