"""OpenVINO's error texts as gaps: which nodes it could not take, and why, without the places in its own source."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from neoc.compile.contracts import Gap
from neoc.compile.errors import UnsupportedModel
from neoc.targets.engines.nodes import domain_of, label, where_of

if TYPE_CHECKING:
    from neoc.compile.program import Program


def unsupported(message: str, program: Program | None) -> UnsupportedModel:
    """The front end's report as gaps, one a node that it could not convert, or one gap in its own words."""
    reasons = _reasons(message)
    named = re.search(r"Operation name: (\S+)", message)  # the CPU plugin's words, after the front end's
    gaps = []
    for node in program.nodes() if program is not None else ():
        domain = domain_of(node.domain)
        name = f"{domain}.{node.op_type}" if domain else node.op_type
        culprit, words = reasons.get(name, ("", ""))
        if named and named[1] in (node.name, *(v.name for v in node.outputs)):
            culprit, words = "", reason(message)
        if words and culprit in ("", node.name, *(v.name for v in node.outputs)):
            gaps.append(Gap("openvino", label(node), name, words, where_of(node)))
    gaps = gaps or [Gap("openvino", "", "", reason(message))]
    why = "; ".join(dict.fromkeys(f"{g.operator}: {g.reason}" if g.operator else g.reason for g in gaps))
    return UnsupportedModel("openvino cannot take the model", gaps=gaps, why=why[:1000])


def _reasons(message: str) -> dict[str, tuple[str, str]]:
    """Operator -> (the node or output named, '' for every node of the kind; the reason), from the front end's list."""
    found: dict[str, tuple[str, str]] = {}
    for part in re.split(r"\n(?=-- |Summary:)", message):
        if rule := re.match(r"-- No conversion rule found for operations: (.*)", part):
            found |= {_plain(name): ("", "there is no conversion rule for it") for name in rule[1].split(", ")}
        elif one := re.match(r"-- (\S+) with a message:\n(.*)", part, re.DOTALL):
            node = re.search(r"ONNX node '<Node\([^)]*\): ([^>]*)>'", one[2])
            found[_plain(one[1])] = (node[1] if node else "", reason(one[2], 300))
    return found


def _plain(name: str) -> str:
    """'Conv-16' -> 'Conv'."""
    return re.sub(r"-\d+$", "", name.strip())


_NOISE = (
    r"Exception from \S+:\d+:",
    r"FrontEnd API failed with \w+:",
    r"While validating ONNX node '<Node\([^)]*\): [^>]*>':",
    r"Check 'false' failed at \S+:\d+:",
    r"(?<=failed) at \S+:\d+(?=:)",
)
"""what OpenVINO puts around its reasons: places in its own source, and the node, which the gap names"""


def reason(message: str, limit: int = 600) -> str:
    for pattern in _NOISE:
        message = re.sub(pattern, "", message)
    return " ".join(message.split())[:limit]
