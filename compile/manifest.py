"""manifest.json: its canonical bytes, its digest, and what a reader must find in it before anything is used.

The full description is manifest.schema.json, which `neoc` validates when it writes. A device checks the part that
opening depends on by the table below: jsonschema takes longer to import than an artifact may take to open.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from neoc.compile.container import MAX_MEMBERS, name_fault
from neoc.compile.contracts import Numerics, Toolchain, dtype_of, level_of
from neoc.compile.errors import InternalError, InvalidArtifact

FORMAT = "1.2"
"""major.minor. A reader takes every minor version of its major one: a minor version only adds what may be ignored."""
MANIFEST, EVIDENCE = "manifest.json", "evidence.json"

MOST_REPEATED = 16
"""a member made of parts has at most so many times the bytes of the whole file: parts may repeat, memory may not end"""

_MAJOR = FORMAT.partition(".")[0]
_SHA256 = re.compile("[0-9a-f]{64}")
_VERSION = re.compile(r"[0-9A-Za-z.+!_-]{1,64}")
_UNDIGESTED = ("content_digest", "evidence")


# ---- bytes and digest ------------------------------------------------------------------------


def canonical(value: Mapping[str, Any], what: str) -> bytes:
    """The one JSON text of `value`: sorted keys, no blanks, ASCII. Raises InternalError for what JSON cannot say."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError) as error:
        raise InternalError(f"the artifact's {what} is not JSON", why=str(error)) from error


def content_digest(manifest: Mapping[str, Any]) -> str:
    """sha256 over all that the artifact is, by the digests of its members; what was measured does not count."""
    content = {key: value for key, value in manifest.items() if key not in _UNDIGESTED}
    return "sha256:" + hashlib.sha256(canonical(content, MANIFEST)).hexdigest()


def parse(raw: bytes, where: str, what: str) -> dict[str, Any]:
    """The JSON object in `raw`, which must be its canonical text. Raises InvalidArtifact."""
    place = f"{where}, member {what}"
    try:
        value = json.loads(raw)
        if not isinstance(value, dict) or canonical(value, what) != raw:
            raise invalid(place, "it is not in the form that neoc writes")
    except (ValueError, RecursionError, InternalError) as error:
        raise invalid(place, f"it is no JSON ({error})") from error
    return value


# ---- writing ---------------------------------------------------------------------------------


def validate(manifest: Mapping[str, Any]) -> None:
    """Raises InternalError where the manifest does not fit manifest.schema.json."""
    import jsonschema  # type: ignore[import-untyped]

    schema = json.loads(Path(__file__).with_name("manifest.schema.json").read_text())
    faults = jsonschema.Draft202012Validator(schema).iter_errors(json.loads(canonical(manifest, MANIFEST)))
    fault = next(iter(faults), None)
    if fault is not None:
        raise InternalError(
            "the manifest does not fit its schema", where=f"manifest.json, {fault.json_path}", why=fault.message[:500]
        )


# ---- reading ---------------------------------------------------------------------------------


def check(manifest: Mapping[str, Any], sizes: Mapping[str, int], where: str) -> None:
    """Raises InvalidArtifact unless this neoc can open the artifact: version, digest, fields, members.

    sizes: what the container holds beside manifest and evidence, name -> bytes.
    """
    place = f"{where}, member {MANIFEST}"
    _check_format(manifest, place)
    if manifest.get("content_digest") != content_digest(manifest):
        raise invalid(place, "its content_digest is not the digest of its content")
    for key, spec in _FIELDS.items():
        if key not in manifest:
            raise invalid(place, f"{key} is missing")
        _fit(manifest[key], spec, key, place)
    for key, spec in _OPTIONAL.items():
        if key in manifest:
            _fit(manifest[key], spec, key, place)
    _check_members(manifest["members"], sizes, place)
    _check_variants(manifest["variants"], place)
    _check_padding(manifest, place)
    named = [path for variant in manifest["variants"] for step in variant["steps"] for path in step["members"].values()]
    objects = [path for files in manifest.get("kernels", {}).values() for path in files.values()]
    for path in [*named, *manifest["program"].values(), *objects]:
        if path not in manifest["members"]:
            raise invalid(place, f"it names member {path!r}, which is not there")


def _check_padding(manifest: Mapping[str, Any], place: str) -> None:
    if "padding" in manifest:
        _fit(manifest["padding"], _PADDING, "padding", place)


def _check_format(manifest: Mapping[str, Any], place: str) -> None:
    form, writer = manifest.get("format"), manifest.get("neoc")
    if not isinstance(form, str) or not re.fullmatch(r"[0-9]{1,4}\.[0-9]{1,4}", form):
        raise invalid(place, f"its format is {form!r:.40}, not major.minor")
    if form.partition(".")[0] == _MAJOR:
        return
    here = f"this neoc ({version('neoc')}) reads formats {_MAJOR}.x"
    maker = writer if isinstance(writer, str) and _VERSION.fullmatch(writer) else None
    raise InvalidArtifact(
        f"the artifact has format {form}",
        where=place,
        why=here,
        fix=f"it was written by neoc {maker}, which reads it: pip install 'neoc>={maker}'; or compile the model anew"
        if maker
        else "compile the model anew with this neoc",
    )


def _check_members(members: Mapping[str, Mapping[str, Any]], sizes: Mapping[str, int], place: str) -> None:
    stored = {path: record for path, record in members.items() if "parts" not in record}
    if stored.keys() != sizes.keys():
        odd = sorted(stored.keys() ^ sizes.keys())
        raise invalid(place, f"members listed and members present differ: {', '.join(map(ascii, odd[:5]))}")
    for path, record in members.items():
        if "parts" in record:
            _fit(record["parts"], [str], f"members.{path}.parts", place)
            if any(part not in stored for part in record["parts"]):
                raise invalid(place, f"member {path} is made of parts that are not there")
            if record["size"] > MOST_REPEATED * sum(sizes.values()):
                raise invalid(place, f"member {path} is larger than its parts can make it")
            if sum(stored[part]["size"] for part in record["parts"]) != record["size"]:
                raise invalid(place, f"the parts of member {path} do not make its {record['size']} bytes")
        elif record["size"] != sizes[path]:
            raise invalid(place, f"member {path} has {sizes[path]} bytes, not {record['size']}")
        if "chunks" not in record:
            continue
        _fit(record["chunks"], [_sha256], f"members.{path}.chunks", place)
        chunk = record.get("chunk_bytes")
        if (
            not isinstance(chunk, int)
            or isinstance(chunk, bool)
            or chunk < 1 << 16
            or len(record["chunks"]) != -(-record["size"] // chunk)
        ):
            raise invalid(place, f"the chunks of member {path} do not cover its {record['size']} bytes")


def _check_variants(variants: list[dict[str, Any]], place: str) -> None:
    if not variants or len({variant["id"] for variant in variants}) < len(variants):
        raise invalid(place, "it has no variant, or two of one id")
    for variant in variants:
        try:
            derived = level_of(Numerics(variant["numerics"]), Toolchain(variant["toolchain"]))
        except ValueError as error:
            raise invalid(place, str(error)) from error
        if variant["level"] != derived:
            raise invalid(place, f"level is {variant['level']!r}, its facts make it {derived.value!r}")
        if not variant["steps"] or variant["threads"] < 0:
            raise invalid(place, f"variant {variant['id']!r} has no step, or a negative number of threads")
        if len(variant["steps"]) > 1 and any("signature" not in step for step in variant["steps"]):
            raise invalid(place, f"a step of variant {variant['id']!r} has no signature of its own")
        if "portable" in variant and variant["portable"] not in {other["id"] for other in variants}:
            raise invalid(place, f"variant {variant['id']!r} names a portable one that is not there")
        for step in variant["steps"]:
            if "device_code" in step:
                _fit(step["device_code"], _DEVICE_CODE, "device_code", place)
            if "mapped" in step:
                _fit(step["mapped"], [str], "variants.steps.mapped", place)
                if not set(step["mapped"]) <= step["members"].keys():
                    raise invalid(place, f"a step of variant {variant['id']!r} maps what it does not have")
            if "signature" in step:
                _fit(step["signature"], _SIGNATURE, "variants.steps.signature", place)


# A specification is a type, a tuple of types, a predicate, [of each item], {of each named key} or _Map(key, value).


class _Map:
    """A mapping with free keys: a predicate of each key and a specification of each value."""

    def __init__(self, key: Callable[[Any], bool], value: Any) -> None:
        self.key, self.value = key, value


def _fit(value: Any, spec: Any, at: str, place: str) -> None:
    if isinstance(spec, _Map):
        if not isinstance(value, dict) or len(value) > MAX_MEMBERS:
            raise invalid(place, f"{at} is no mapping")
        for key, item in value.items():
            if not spec.key(key):
                raise invalid(place, f"{at} has the unusable key {ascii(key)[:80]}")
            _fit(item, spec.value, f"{at}.{key}", place)
    elif isinstance(spec, dict):
        if not isinstance(value, dict):
            raise invalid(place, f"{at} is no mapping")
        for key, inner in spec.items():
            if key not in value:
                raise invalid(place, f"{at}.{key} is missing")
            _fit(value[key], inner, f"{at}.{key}", place)
    elif isinstance(spec, list):
        if not isinstance(value, list):
            raise invalid(place, f"{at} is no list")
        for index, item in enumerate(value):
            _fit(item, spec[0], f"{at}[{index}]", place)
    elif not (_is(value, spec) if isinstance(spec, type | tuple) else spec(value)):
        raise invalid(place, f"{at} is {ascii(value)[:80]}")


def _is(value: Any, kinds: Any) -> bool:
    return isinstance(value, kinds) and not (isinstance(value, bool) and kinds is int)


def _any_text(value: Any) -> bool:
    return isinstance(value, str)


def _safe_name(value: Any) -> bool:
    return isinstance(value, str) and not name_fault(value)


def _natural(value: Any) -> bool:
    return _is(value, int) and 0 <= value < 2**63


def _share(value: Any) -> bool:
    return value is None or (_is(value, (int, float)) and 0 <= value <= 1)


def _batch(value: Any) -> bool:
    return value is None or (_is(value, int) and 0 < value < 2**31)


def _file_name(value: Any) -> bool:
    return _safe_name(value) and "/" not in value


def _sha256(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _shape(value: Any) -> bool:
    return value is None or (
        isinstance(value, list) and all(d is None or isinstance(d, str) or _natural(d) for d in value)
    )


def _axis(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9]{1,3}", value) is not None


def _dtype(value: Any) -> bool:
    if not isinstance(value, str) or not re.fullmatch("[a-z][a-z0-9_]*", value):
        return False
    if value in ("sequence", "optional", "undefined"):
        return True
    try:
        return dtype_of(value) is not None
    except (TypeError, ValueError, AttributeError):
        return False


_TENSOR = {"name": str, "dtype": _dtype, "shape": _shape}
_SIGNATURE = {"inputs": [_TENSOR], "outputs": [_TENSOR]}
_SCALAR = (str, int, float, bool)
_VARIANT = {"id": str, "options": _Map(_any_text, _SCALAR), "threads": int, "precision": str}
_STEP = {"engine": str, "variant": _VARIANT, "members": _Map(_safe_name, str)}
_REQUIREMENT = {"kind": str, "name": str, "version": str, "match": str}
_PADDING = {
    "least": _Map(_any_text, int),
    "values": _Map(_any_text, (int, float)),
    "cuts": _Map(_any_text, _Map(_axis, str)),
}
_DEVICE_CODE = {
    "sm": int,
    "compiler": str,
    "kernels": [
        {
            "name": str,
            "registers": _natural,
            "shared_bytes": _natural,
            "spill_store_bytes": _natural,
            "spill_load_bytes": _natural,
            "block_threads": _natural,
            "occupancy": _share,
            "bound_by": str,
        }
    ],
}
"""since format 1.2"""
_PLACEMENT = {"nodes": _Map(_any_text, int), "fallback": [str]}
_FIELDS: dict[str, Any] = {
    "signature": _SIGNATURE,
    "target": {"name": str, "title": str, "arch": str},
    "variants": [
        {
            "id": str,
            "bind": _Map(_any_text, int),
            "precision": str,
            "threads": int,
            "steps": [_STEP | {"placement": _PLACEMENT, "tools": _Map(_any_text, str), "reproducible": bool}],
            "members": [str],
            "requirements": [_REQUIREMENT],
            "level": str,
            "numerics": str,
            "toolchain": str,
        }
    ],
    "program": _Map(_safe_name, str),
    "pre": [{"name": str, "options": dict}],
    "post": [{"name": str, "options": dict}],
    "members": _Map(_safe_name, {"sha256": _sha256, "size": _natural}),
    "tools": _Map(_any_text, str),
    "provenance": {"framework": str, "version": str, "sha256": str, "name": str},
    "placement": _PLACEMENT,
    "verification": {
        "numerics": str,
        "why": str,
        "reference": str,
        "independent": bool,
        "judged_by": str,
        "samples": int,
        "given_samples": int,
        "outputs": [dict],
    },
    "chosen_by": str,
    "notes": [str],
    "evidence": {"sha256": _sha256, "size": _natural},
}
"""The fields that neoc itself reads. manifest.schema.json says all that is written."""
_OPTIONAL: dict[str, Any] = {
    "raw": {
        "items": [{"name": str, "kind": str, "takes": str}],
        "answers": [{"name": str, "gives": str}],
        "batch": _batch,
    },
    "kernels": _Map(_safe_name, _Map(_file_name, str)),
}
"""since format 1.1"""


def invalid(where: str, why: str) -> InvalidArtifact:
    return InvalidArtifact(
        "the artifact is damaged or was tampered with",
        where=where,
        why=why,
        fix="fetch it again, or compile the model anew",
    )


def renamed(manifest: Mapping[str, Any], stored: Mapping[str, str]) -> dict[str, Any]:
    """A copy whose references to members go through `stored`: path as given -> path under which the bytes are kept."""
    copy: dict[str, Any] = json.loads(canonical(manifest, MANIFEST))
    for variant in copy.get("variants", ()):
        for step in variant.get("steps", ()):
            step["members"] = _stored(step.get("members", {}), stored, f"step {step.get('engine')}")
        variant["members"] = sorted({path for step in variant.get("steps", ()) for path in step["members"].values()})
    copy["program"] = _stored(copy.get("program", {}), stored, "the program")
    if "kernels" in copy:
        copy["kernels"] = {cpu: _stored(files, stored, "a kernel") for cpu, files in copy["kernels"].items()}
    return copy


def _stored(names: Mapping[str, str], stored: Mapping[str, str], who: str) -> dict[str, str]:
    missing = sorted(set(names.values()) - stored.keys())
    if missing:
        raise InternalError(f"{who} names members that are not packed", why=", ".join(missing))
    return {name: stored[path] for name, path in names.items()}
