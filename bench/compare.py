"""Two records that were taken apart: is the second slower than the first?

Blocks of one record are not paired with those of the other, so each side is resampled on its own. The floor is the
largest of what A against A showed in either record and what the ledger knows. Unlike machines are never compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from neoc.bench import record, verdict
from neoc.compile.errors import UsageError

SIGNS = {"lower": 1, "higher": -1}


def compare(
    base: Mapping[str, Any],
    new: Mapping[str, Any],
    floors: Mapping[str, float] | None = None,
    resolve: float = verdict.RESOLVE,
) -> dict[str, Any]:
    """A JSON-able table of verdicts: one row for each subject that both hold, and each metric.

    A record with one subject is compared with one of another name (that is what `before` and `after` are); else names
    must be the same. Raises UsageError where machines or loads differ, and where no subject is common.
    """
    same_machine(base["machine"], new["machine"])
    _same_load(base, new)
    rows: dict[str, verdict.Verdict] = {}
    facts: dict[str, dict[str, Any]] = {}
    for name, a, b in _pairs(base, new):
        for metric in sorted(set(a["metrics"]) & set(b["metrics"])):
            key = f"{name}/{metric}"
            rows[key] = judge(a, b, metric, (floors or {}).get(metric, 0.0), resolve)
            facts[key] = {
                "subject": name,
                "level": b["level"],
                "metric": metric,
                "base": a["metrics"][metric],
                "new": b["metrics"][metric],
            }
    judged = verdict.adjust(rows)
    table = [{**facts[key], **judged[key].as_dict()} for key in rows]
    return {
        "scenario": new["scenario"],
        "rows": table,
        "regressions": [f"{row['subject']}: {row['metric']}" for row in table if row["verdict"] == "slower"],
        "noise": "; ".join(filter(None, (base.get("noise", ""), new.get("noise", "")))),
        "versions": version_changes(base["machine"], new["machine"]),
    }


def judge(
    a: Mapping[str, Any], b: Mapping[str, Any], metric: str, known: float = 0.0, resolve: float = verdict.RESOLVE
) -> verdict.Verdict:
    """b's result against a's. Each side needs process runs: what one process says is no evidence."""
    sides = [record.cycles(a, metric), record.cycles(b, metric)]
    if not all(sides):
        return verdict.void("a side has no block that counts")
    together = verdict.unpaired_effect(*sides)
    numbers = [n for n in (0, 1) if record.cycles(a, metric, n) and record.cycles(b, metric, n)]
    sets = [verdict.unpaired_effect(record.cycles(a, metric, n), record.cycles(b, metric, n)) for n in numbers]
    if len(sets) == 1 and len(record.cycles(b, metric, 1)) and not record.cycles(a, metric, 1):
        # The base was not confirmed when it was taken: all its blocks stand against each new set.
        sets = [verdict.unpaired_effect(sides[0], record.cycles(b, metric, n)) for n in (0, 1)]
    return verdict.judge(sets, together, max(known, own_floor(a, metric), own_floor(b, metric)), resolve)


def own_floor(result: Mapping[str, Any], metric: str) -> float:
    """What this record's own A against A showed (log); infinite where it had none."""
    value = result.get("floor", {}).get(metric)
    return math.inf if value is None else math.log1p(value)


def _pairs(base: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    olds, news = ({r["subject"]: r for r in one["results"]} for one in (base, new))
    if len(olds) == len(news) == 1:
        (a,), (b,) = olds.values(), news.values()
        if a["model"]["sha256"] != b["model"]["sha256"]:
            raise UsageError(
                "the records are of different models",
                where=f"{a['subject']}, {b['subject']}",
                why=f"{a['model']['sha256'][:12]} and {b['model']['sha256'][:12]}",
                fix="compare records of one model",
            )
        return [(b["subject"], a, b)]
    common = [name for name in news if name in olds]
    if not common:
        raise UsageError(
            "the records have no subject in common",
            where=f"{', '.join(olds)} | {', '.join(news)}",
            fix="measure the same subjects, or one subject each",
        )
    return [(name, olds[name], news[name]) for name in common]


def same_machine(base: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raises UsageError that says every fact in which the machines differ."""
    a, b = base["machine"], new["machine"]
    differing = [f"{key}: {a.get(key)!r} and {b.get(key)!r}" for key in sorted({*a, *b}) if a.get(key) != b.get(key)]
    if differing:
        raise UsageError(
            "the records are from unlike machines",
            why="; ".join(differing),
            fix="measure both on one machine in one state",
        )


def _same_load(base: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    facts = [
        (one["scenario"], one["threads"], one["load"], (one.get("data") or {}).get("sha256")) for one in (base, new)
    ]
    words = ("scenario", "threads", "load", "data")
    differing = [f"{w}: {x!r} and {y!r}" for w, x, y in zip(words, *facts, strict=True) if x != y]
    if differing:
        raise UsageError(
            "the records are of different loads", why="; ".join(differing), fix="measure both with the same arguments"
        )


def version_changes(base: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Packages and kernel that differ: allowed, since they are often what is compared, and said."""
    a = {**base["versions"], "kernel": base["state"].get("kernel")}
    b = {**new["versions"], "kernel": new["state"].get("kernel")}
    return [f"{key}: {a.get(key)} -> {b.get(key)}" for key in sorted({*a, *b}) if a.get(key) != b.get(key)]
