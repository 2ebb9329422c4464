#!/usr/bin/env python3
"""STAND-IN for nvcc, for tests. It is NOT NVIDIA's compiler, and what it writes is NOT a cubin.

It takes the documented command line strictly, reads CUDA C by a reader of its own (comments, brackets, kernels, their
parameters and shared arrays, what is called), applies the limits that the CUDA C++ Programming Guide names, and writes
a marked JSON file. It imports the standard library alone, so it shares no code, and so no mistake, with what it judges.
What it accepts is well formed as far as it reads; whether the real compiler takes it is not known, and it says nothing
of registers, spills or speed.

Sources: CUDA Compiler Driver NVCC 12.9 (command line, messages); CUDA C++ Programming Guide 12 (limits, function
qualifiers, warp functions). Assumptions: the list of known functions, that an architecture must be named.

It runs only where NEOC_ALLOW_STANDIN=1. NEOC_STANDIN_FAULT makes it fail as compilers do: no-file (status 0 and
nothing written), empty-file, killed (kill -9, as for want of memory), hang, crash (status 1 and a trace).
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

VERSION = "12.9.86+neoc.stand-in"
ARCHITECTURES = (50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90, 100, 101, 103, 120, 121)
MOST_THREADS, MOST_SHARED, MOST_PARAMETERS, MOST_PARAMETERS_BEFORE_VOLTA = 1024, 49152, 32764, 4096

SIZES = {
    "bool": 1, "char": 1, "signed char": 1, "unsigned char": 1, "uchar": 1, "int8_t": 1, "uint8_t": 1, "short": 2,
    "ushort": 2, "unsigned short": 2, "int16_t": 2, "uint16_t": 2, "half": 2, "__half": 2, "int": 4, "uint": 4,
    "unsigned int": 4, "unsigned": 4, "int32_t": 4, "uint32_t": 4, "float": 4, "long": 8, "long long": 8,
    "unsigned long long": 8, "int64_t": 8, "uint64_t": 8, "size_t": 8, "double": 8, "float2": 8, "int2": 8, "uint2": 8,
    "float3": 12, "int3": 12, "float4": 16, "int4": 16, "uint4": 16, "double2": 16, "longlong2": 16,
}  # fmt: skip


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTIONS = _names(
    """
    abs acosf acoshf asinf asinhf atan2f atanf atanhf cbrtf ceil ceilf copysignf cosf coshf erff exp exp10f exp2f
    expf fabs fabsf floor floorf fma fmaf fmax fmaxf fmin fminf fmod fmodf hypotf isfinite isinf isnan log log10f
    log1pf log2f logf max min nearbyint nearbyintf pow powf rint rintf round roundf rsqrtf sin sinf sinhf sqrt
    sqrtf tan tanf tanh tanhf trunc truncf erf cos sinh cosh atan __syncthreads __syncwarp __threadfence
    __threadfence_block __activemask __shfl_sync __shfl_up_sync __shfl_down_sync __shfl_xor_sync __ballot_sync
    __all_sync __any_sync __ldg __fadd_rn __dadd_rn __fmul_rn __float_as_int __int_as_float __float_as_uint
    __uint_as_float __double_as_longlong __longlong_as_double __expf __logf __powf __popc __clz __ffs __umulhi
    __mulhi __syncthreads_or __syncthreads_and __shfl __shfl_up __shfl_down atomicAdd atomicMax atomicMin
    atomicCAS atomicExch make_float2 make_float3 make_float4 make_int2 make_int3 make_int4 make_uint2 make_uint4
    make_double2 make_longlong2 make_longlong4 make_ulonglong2 make_short2 make_short4 make_char4 make_uchar4
    make_uchar2 make_char2 sizeof alignas alignof static_cast reinterpret_cast
    """
)
KEYWORDS = frozenset(["if", "for", "while", "switch", "return", "do", "else", "case", "void", "extern"])
GATES = (
    (re.compile(r"\bnvcuda::wmma\b"), 70, "warp matrix functions"),
    (re.compile(r"\bcp\.async\b"), 80, "Feature 'cp.async'"),
    (re.compile(r"\bwgmma\b"), 90, "Feature 'wgmma'"),
    (re.compile(r"\b__nv_bfloat16\b"), 80, "arithmetic of __nv_bfloat16"),
)
"""(what stands in the source, the least architecture, what the message calls it)"""


class Refused(Exception):
    """The source, in the compiler's words."""


class Kernel(NamedTuple):
    name: str
    parameters: tuple[str, ...]
    threads: int
    body: str


# ---- reading -------------------------------------------------------------------------------------


def plain(source: str) -> str:
    """Without comments, strings, characters and lines of the preprocessor; what was on a line stays on it."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|^[ \t]*#(?:\\\n|[^\n])*', re.S | re.M
    )
    return pattern.sub(lambda m: '""' if m[0][0] == '"' else "\n" * m[0].count("\n"), source)


def balanced(text: str) -> None:
    closing, opened = {")": "(", "]": "[", "}": "{"}, []
    for at, sign in enumerate(text):
        if sign in "([{":
            opened.append((sign, at))
        elif sign in closing and (not opened or opened.pop()[0] != closing[sign]):
            raise Refused(f"kernels.cu({line(text, at)}): error: unexpected '{sign}'")
    if opened:
        raise Refused(f"kernels.cu({line(text, opened[-1][1])}): error: expected a closing '{opened[-1][0]}'")


def line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def matching(text: str, at: int, pair: str) -> int:
    depth = 0
    for index in range(at, len(text)):
        depth += (text[index] == pair[0]) - (text[index] == pair[1])
        if depth == 0:
            return index
    raise Refused("kernels.cu: error: unexpected end of file")


HEAD = re.compile(r"(?:extern\s*\"\"\s*)?__global__\s+(\w+)\s*(?:__launch_bounds__\s*\(([^)]*)\)\s*)?(\w+)\s*\(")


def kernels(text: str) -> Iterator[tuple[Kernel, bool]]:
    """Each kernel with whether it is defined there, or only declared."""
    for head in HEAD.finditer(text):
        kind, bounds, name = head[1], head[2], head[3]
        if kind != "void":
            raise Refused(f'error: a __global__ function must have a void return type ("{name}")')
        end = matching(text, head.end() - 1, "()")
        inside = text[head.end() : end]
        parameters = tuple(" ".join(p.split()) for p in inside.split(",")) if inside.strip() else ()
        threads = bound(bounds, name)
        rest = re.compile(r"\s*([;{])").match(text, end + 1)
        if rest is None:
            raise Refused(f'error: expected a ";" or a body after "{name}"')
        if rest[1] == ";":
            yield Kernel(name, parameters, threads, ""), False
            continue
        close = matching(text, rest.end() - 1, "{}")
        yield Kernel(name, parameters, threads, text[rest.end() : close]), True


def bound(text: str | None, name: str) -> int:
    if text is None:
        return 0
    first = text.split(",")[0].strip()
    if not first.isdigit() or not 1 <= int(first) <= MOST_THREADS:
        raise Refused(f'error: __launch_bounds__({first}) of "{name}" is not between 1 and {MOST_THREADS}')
    return int(first)


# ---- rules ---------------------------------------------------------------------------------------


def check(source: str, sm: int) -> list[dict[str, Any]]:
    """The kernels' facts. Raises Refused."""
    text = plain(source)
    balanced(text)
    defined: dict[str, Kernel] = {}
    declared: dict[str, Kernel] = {}
    for kernel, is_definition in kernels(text):
        if is_definition and kernel.name in defined:
            raise Refused(f'error: function "{kernel.name}" has already been defined')
        other = declared.get(kernel.name) or defined.get(kernel.name)
        if other is not None and other.parameters != kernel.parameters:
            raise Refused(f'error: declaration of "{kernel.name}" is incompatible with previous one')
        (defined if is_definition else declared)[kernel.name] = kernel
    if lost := sorted(declared.keys() - defined.keys()):
        raise Refused(f'ptxas fatal   : Unresolved extern function "{lost[0]}"')
    if not defined:
        raise Refused("error: the file holds no __global__ function")
    for pattern, least, what in GATES:
        if sm < least and pattern.search(text):
            raise Refused(f"ptxas error   : {what} requires .target sm_{least} or higher")
    own = set(re.findall(r"\b(\w+)\s*\([^()]*\)\s*\{", text)) | set(
        re.findall(r"\b(?:struct|union)\s+(?:alignas\s*\(\d+\)\s*)?(\w+)", text)
    )
    return [facts(kernel, sm, own) for kernel in defined.values()]


def facts(kernel: Kernel, sm: int, own: set[str]) -> dict[str, Any]:
    most = MOST_PARAMETERS if sm >= 70 else MOST_PARAMETERS_BEFORE_VOLTA
    taken = sum(8 if "*" in p else SIZES.get(kind_of(p), 0) for p in kernel.parameters)
    if taken > most:
        raise Refused(
            f"ptxas error   : Formal parameter space overflowed in function '{kernel.name}' ({taken} > {most})"
        )
    for parameter in kernel.parameters:
        if "*" not in parameter and kind_of(parameter) not in SIZES and kind_of(parameter) not in own:
            raise Refused(f'error: identifier "{kind_of(parameter)}" is undefined (parameter of {kernel.name})')
    shared = sum(shared_arrays(kernel, own))
    if shared > MOST_SHARED:
        raise Refused(
            f"ptxas error   : Entry function '{kernel.name}' uses too much shared data "
            f"({shared:#x} bytes, {MOST_SHARED:#x} max)"
        )
    if sm >= 70 and (old := re.search(r"\b__shfl(?:_up|_down|_xor)?\s*\(", kernel.body)):
        raise Refused(f'error: "{old[0].rstrip("( ")}" is not available for sm_{sm}; use the _sync form')
    for name in dict.fromkeys(re.findall(r"(?<![\w.:>])([A-Za-z_]\w*)\s*\(", kernel.body)):
        if name not in FUNCTIONS and name not in KEYWORDS and name not in own and name not in SIZES:
            raise Refused(f'error: identifier "{name}" is undefined (in {kernel.name})')
    return {
        "name": kernel.name,
        "parameters": len(kernel.parameters),
        "launch_bounds": kernel.threads,
        "shared_bytes": shared,
    }


def kind_of(parameter: str) -> str:
    return " ".join(re.sub(r"[*&]|__restrict__|\bconst\b", " ", parameter).split()[:-1])


def shared_arrays(kernel: Kernel, own: set[str]) -> Iterator[int]:
    """Bytes of each array; of one whose size is a constant expression of numbers."""
    pattern = re.compile(
        r"__shared__\s+(?:alignas\s*\(\d+\)\s*|__align__\s*\(\d+\)\s*)?([\w ]+?)\s+(\w+)\s*(\[[^;]*\])?\s*;"
    )
    for found in pattern.finditer(kernel.body):
        kind = found[1].strip()
        if kind not in SIZES and kind not in own:
            raise Refused(f'error: identifier "{kind}" is undefined (in {kernel.name})')
        count = 1
        for size in re.findall(r"\[([^\]]*)\]", found[3] or ""):
            if not size.strip().isdigit():
                raise Refused(f'error: expression must have a constant value ("{found[2]}" in {kernel.name})')
            count *= int(size)
        yield count * SIZES.get(kind, 0)


# ---- the command line ----------------------------------------------------------------------------


def fatal(message: str) -> NoReturn:
    sys.stderr.write(f"nvcc fatal   : {message}\n")
    sys.exit(1)


def parsed(words: list[str]) -> tuple[int, str, str]:
    """(architecture, the file to read, the file to write)"""
    sm, output, sources, kind = 0, "", [], ""
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word in ("-o", "-Xptxas", "-I", "-D"):
            if at == len(words):
                fatal(f"expected a value behind '{word}'")
            if word == "-o":
                output = words[at]
            elif word == "-Xptxas" and words[at] not in ("-v", "-O3", "-O2", "-O1"):
                fatal(f"Unknown option '{words[at]}' of ptxas")
            at += 1
        elif word == "-cubin":
            kind = word
        elif found := re.fullmatch(r"-arch=sm_(\d+)a?", word):
            sm = int(found[1])
        elif word in ("-w", "-O3", "-lineinfo") or re.fullmatch(r"-std=c\+\+(11|14|17|20)|-[ID]\S+", word):
            continue
        elif word.startswith("-"):
            fatal(f"Unknown option '{word}'")
        else:
            sources.append(word)
    if kind != "-cubin":
        fatal("only -cubin is taken")
    if sm not in ARCHITECTURES:
        fatal("Unsupported gpu architecture" if sm else "no -arch=sm_NN was given")
    if len(sources) != 1 or not sources[0].endswith(".cu"):
        fatal("exactly one file NAME.cu is taken")
    if not output:
        fatal("no output file was given")
    return sm, sources[0], output


def fault(kind: str, output: str) -> NoReturn:
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "hang":
        time.sleep(3600)
    if kind == "crash":
        raise RuntimeError("internal compiler error (asked for by NEOC_STANDIN_FAULT)")
    if kind == "empty-file":
        open(output, "wb").close()
    sys.exit(0 if kind in ("no-file", "empty-file") else 2)


def main(words: list[str]) -> None:
    if os.environ.get("NEOC_ALLOW_STANDIN") != "1":
        sys.stderr.write("this is neoc's stand-in for nvcc; it runs only where NEOC_ALLOW_STANDIN=1\n")
        sys.exit(3)
    if words == ["--version"]:
        print(f"nvcc: neoc's stand-in for the CUDA compiler driver\nCuda compilation tools, release 12.9, V{VERSION}")
        return
    if words == ["--list-gpu-arch"]:
        print("\n".join(f"compute_{sm}" for sm in ARCHITECTURES))
        return
    sm, source, output = parsed(words)
    if kind := os.environ.get("NEOC_STANDIN_FAULT"):
        fault(kind, output)
    try:
        with open(source, encoding="utf-8") as file:
            found = check(file.read(), sm)
    except (OSError, UnicodeDecodeError) as error:
        fatal(f"Could not open input file '{source}': {error}")
    except Refused as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    facts = {
        "NEOC_STANDIN": "made by neoc's stand-in for nvcc; no GPU can load it",
        "version": VERSION,
        "sm": sm,
        "kernels": found,
    }
    with open(output, "w", encoding="utf-8") as file:
        json.dump(facts, file, indent=1)


if __name__ == "__main__":
    main(sys.argv[1:])
