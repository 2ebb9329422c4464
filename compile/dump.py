"""--dump DIR: every program on the way, numbered, as ONNX and as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neoc.compile import onnx_io
from neoc.compile.passes.text import render
from neoc.compile.program import Program


class Dump:
    """Writes nothing where the folder is None."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._count = 0
        self._log: list[dict[str, Any]] = []
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def program(self, name: str, program: Program) -> None:
        if self._folder is None:
            return
        self._count += 1
        stem = f"{self._count:02d}-{name}"
        onnx_io.write(program.model, self._folder / f"{stem}.onnx", data_name=f"{stem}.data")
        (self._folder / f"{stem}.txt").write_text(render(program), encoding="utf-8")

    def after_pass(self, step: Any, before: Program, after: Program, seconds: float) -> None:
        """The callback of passes.run."""
        if self._folder is None:
            return
        nodes = [sum(1 for _ in p.nodes()) for p in (before, after)]
        self._log.append({"pass": repr(step), "seconds": round(seconds, 4), "nodes": nodes})
        (self._folder / "passes.json").write_text(json.dumps(self._log, indent=1))
        if before.model is not after.model and before.digest != after.digest:
            self.program(type(step).__name__.lower(), after)
