"""What the documents say is what the code does: settings, links, commands, and no figure without a command."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from neoc.cli.app import COMMANDS
from neoc.compile.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def settings_page() -> str:
    """docs/settings.md, written from compile/settings.py."""
    lines = ["# Settings", "", "Environment variables that neoc reads; all of them in `compile/settings.py`.", ""]
    lines += ["| variable | type | what it is |", "|---|---|---|"]
    lines += [f"| `{f.metadata['variable']}` | {f.type} | {f.metadata['doc']} |" for f in fields(Settings)]
    return "\n".join(lines) + "\n"


def test_the_settings_page_is_written_from_the_code(request: pytest.FixtureRequest) -> None:
    page = ROOT / "docs" / "settings.md"
    if request.config.getoption("--update-golden"):
        page.write_text(settings_page())
    assert page.read_text() == settings_page()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_commands_in_the_readme_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    named = set(re.findall(r"^neoc (\w+)", readme, re.MULTILINE)) | set(re.findall(r"`neoc (\w+)", readme))
    assert named <= set(COMMANDS)
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z-]+)", readme)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


def test_the_readme_starts_with_the_two_commands() -> None:
    head = (ROOT / "README.md").read_text()[:700]
    assert head.index("make demo") < head.index("make test")
