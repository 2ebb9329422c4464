"""The table of kernels that goes into the artifact: what each takes of the chip, read from the cubin and from ptxas."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from neoc.targets.engines.cuda.cubin import read_cubin
from neoc.targets.engines.cuda.occupancy import LIMITS, occupancy

MEMBER = "kernels.json"


@dataclass(frozen=True)
class KernelFacts:
    name: str
    registers: int
    """per thread"""
    shared_bytes: int
    """per block, static"""
    spill_store_bytes: int | None
    spill_load_bytes: int | None
    """per thread: what did not fit the registers, as ptxas counts it; None where its log says nothing of the kernel"""
    stack_bytes: int
    block_threads: int
    """the size of the blocks that it is launched with: the generated code fixes it; 0 where it does not"""
    occupancy: float | None
    """theoretical, 0 to 1; None where the block size is not fixed"""
    bound_by: str
    """what limits the occupancy; '' where it is not known"""
    code_bytes: int


_COMPILING = re.compile(r"Compiling entry function '([^']+)' for 'sm_(\d+)\w?'")
_SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True)
class Said:
    """What ptxas -v says of one kernel."""

    registers: int
    shared_bytes: int
    spill_store_bytes: int
    spill_load_bytes: int


def ptxas_said(log: str) -> dict[str, Said]:
    """By kernel. A log that lacks a kernel (NVRTC served it from its cache, say) just lacks it."""
    found: dict[str, Said] = {}
    pieces = _COMPILING.split(log)
    for name, text in zip(pieces[1::3], pieces[3::3], strict=True):
        spills, used, shared = _SPILLS.search(text), _USED.search(text), _SHARED.search(text)
        if used is None:
            continue
        stores, loads = (int(spills[1]), int(spills[2])) if spills else (0, 0)
        found[name] = Said(int(used[1]), int(shared[1]) if shared else 0, stores, loads)
    return found


def facts_of(cubin: bytes, log: str) -> tuple[int, list[KernelFacts]]:
    """(compute capability, a row a kernel). Raises InvalidArtifact for what is no cubin."""
    read, said = read_cubin(cubin), ptxas_said(log)
    rows = []
    for kernel in read.kernels:
        words = said.get(kernel.name)
        known = kernel.block_threads and read.sm in LIMITS
        resident = occupancy(read.sm, kernel.block_threads, kernel.registers, kernel.shared_bytes) if known else None
        rows.append(
            KernelFacts(
                name=kernel.name,
                registers=kernel.registers,
                shared_bytes=kernel.shared_bytes,
                spill_store_bytes=words.spill_store_bytes if words else None,
                spill_load_bytes=words.spill_load_bytes if words else None,
                stack_bytes=kernel.stack_bytes,
                block_threads=kernel.block_threads,
                occupancy=None if resident is None else round(resident.share, 4),
                bound_by="" if resident is None else resident.bound_by,
                code_bytes=kernel.code_bytes,
            )
        )
    return read.sm, rows


def table(sm: int, rows: list[KernelFacts], compiler: str, source_sha256: str) -> dict[str, Any]:
    """What kernels.json holds."""
    return {
        "version": 1,
        "sm": sm,
        "compiler": compiler,
        "source_sha256": source_sha256,
        "kernels": [asdict(row) for row in rows],
    }


def in_short(rows: list[KernelFacts]) -> str:
    """One line for the manifest's notes."""
    most = max(rows, key=lambda row: row.registers)
    spilling = sum(1 for row in rows if row.spill_store_bytes)
    shares = [row.occupancy for row in rows if row.occupancy is not None]
    text = f"{len(rows)} kernels, at most {most.registers} registers ({most.name})"
    text += f" and {max(row.shared_bytes for row in rows)} bytes of shared memory, {spilling} with spills"
    if unknown := sum(1 for row in rows if row.spill_store_bytes is None):
        text += f" ({unknown} of which ptxas said nothing)"
    return text + (f"; theoretical occupancy {min(shares):.0%} to {max(shares):.0%}" if shares else "")


def rows_of(facts: Mapping[str, Any]) -> list[KernelFacts]:
    return [KernelFacts(**row) for row in facts["kernels"]]
