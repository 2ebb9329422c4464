"""Theoretical occupancy: which share of a multiprocessor's warps a kernel can keep resident, from its resources.

The limits are those of the CUDA C++ Programming Guide, "Technical Specifications per Compute Capability" (release 12,
and 11 for 5.3 and 6.2); the rules of allocation are those of cuda_occupancy.h in the CUDA toolkit, with which the tests
compare every result. A bound on what can be resident, not a measurement of anything.
"""

from __future__ import annotations

from dataclasses import dataclass

WARP = 32
_REGISTER_UNIT = 256
"""registers are given to a warp in steps of so many"""


@dataclass(frozen=True)
class Limits:
    """Of one multiprocessor, and of one block on it. Bytes, registers, threads."""

    threads: int
    blocks: int
    shared_bytes: int
    registers: int = 65536
    block_registers: int = 65536
    block_shared_bytes: int = 49152
    """static shared memory of a block: more takes dynamic memory that the launch asks for"""
    block_threads: int = 1024
    reserved_shared_bytes: int = 0
    """taken by the system from each block's share"""
    shared_unit: int = 256
    partitions: int = 4


_KB = 1024
LIMITS: dict[int, Limits] = {
    53: Limits(2048, 32, 64 * _KB, block_registers=32768),
    62: Limits(2048, 32, 64 * _KB, block_registers=32768),
    70: Limits(2048, 32, 96 * _KB),
    72: Limits(2048, 32, 96 * _KB),
    75: Limits(1024, 16, 64 * _KB),
    80: Limits(2048, 32, 164 * _KB, reserved_shared_bytes=_KB, shared_unit=128),
    86: Limits(1536, 16, 100 * _KB, reserved_shared_bytes=_KB, shared_unit=128),
    87: Limits(1536, 16, 164 * _KB, reserved_shared_bytes=_KB, shared_unit=128),
    89: Limits(1536, 24, 100 * _KB, reserved_shared_bytes=_KB, shared_unit=128),
    90: Limits(2048, 32, 228 * _KB, reserved_shared_bytes=_KB, shared_unit=128),
}
"""compute capability -> limits"""


@dataclass(frozen=True)
class Occupancy:
    blocks: int
    """resident blocks of a multiprocessor; 0: the kernel cannot be launched with so many threads"""
    warps: int
    share: float
    """of the multiprocessor's warps, 0 to 1"""
    bound_by: str
    """what there would have to be more of: 'threads', 'blocks', 'registers' or 'shared memory'"""


def occupancy(sm: int, threads: int, registers: int, shared_bytes: int) -> Occupancy:
    """Of a kernel of `threads` a block, `registers` a thread and `shared_bytes` a block. KeyError: no such `sm`."""
    limits = LIMITS[sm]
    warps = -(-threads // WARP)
    fits = {
        "threads": limits.threads // WARP // warps if 0 < threads <= limits.block_threads else 0,
        "blocks": limits.blocks,
        "registers": _by_registers(limits, warps, registers),
        "shared memory": _by_shared(limits, shared_bytes),
    }
    bound_by = min(fits, key=fits.__getitem__)
    blocks = fits[bound_by]
    return Occupancy(blocks, blocks * warps, blocks * warps * WARP / limits.threads, bound_by)


def _by_registers(limits: Limits, warps: int, registers: int) -> int:
    """Registers are given out a warp at a time, in each of the partitions; the check of a block assumes all of them."""
    if registers == 0:
        return limits.blocks
    a_warp = _up(registers * WARP, _REGISTER_UNIT)
    if a_warp * _up(warps, limits.partitions) > limits.block_registers:
        return 0
    return limits.registers // limits.partitions // a_warp * limits.partitions // warps


def _by_shared(limits: Limits, shared_bytes: int) -> int:
    taken = _up(shared_bytes + limits.reserved_shared_bytes, limits.shared_unit)
    if shared_bytes > limits.block_shared_bytes:
        return 0
    return limits.shared_bytes // taken if taken else limits.blocks


def _up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
