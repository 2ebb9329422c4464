"""`neoc report`: the ledger as one HTML page that needs no network: matrix, distributions, history, roofline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from neoc.bench import charts, history, record
from neoc.bench.ledger import Ledger
from neoc.compile.errors import InvalidInput, MissingTool

TEMPLATE = Path(__file__).with_name("report.html.j2")


def render(ledger: Ledger) -> str:
    """The page. Raises InvalidInput for a ledger without entries, MissingTool without jinja2 or plotly."""
    if not ledger.entries:
        raise InvalidInput(
            "the ledger has no entry that can be reported",
            where=str(ledger.path),
            why="; ".join(f"line {bad.number}: {bad.why}" for bad in ledger.bad) or "it is empty",
            fix="neoc bench SUBJECT... --ledger FILE puts entries into it",
        )
    try:
        import jinja2
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingTool("a report cannot be drawn", why=str(error), fix="pip install 'neoc[bench]'") from error
    for entry in ledger.entries:
        record.refuse_stand_in(entry["subject"], entry["level"])
    latest = [entries[-1] for entries in ledger.series().values()]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"duration": duration, "size": size}
    figures: list[dict[str, Any]] = []
    facts = {
        "neoc": version("neoc"),
        "machines": _machines(latest),
        "columns": _columns(latest),
        "matrix": _matrix(latest),
        "distributions": _distributions(latest, figures),
        "histories": _histories(ledger, figures),
        "rooflines": _rooflines(latest, figures),
        "footprints": sorted((_footprint(e) for e in latest if e["n"]), key=lambda r: (r["model"], r["engine"])),
        "bad": ledger.bad,
        "entries": len(ledger.entries),
        "first": min(e["created"] for e in ledger.entries),
        "last": max(e["created"] for e in ledger.entries),
        "without_history": history.missing(),
    }
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    # What ends a script element may not stand in one.
    drawn = json.dumps(figures).replace("<", "\\u003c")
    return page.render(**facts, figures=drawn, plotly=get_plotlyjs().replace("</script", "<\\/script"))


def engine_of(entry: Mapping[str, Any]) -> str:
    """Artifacts are neoc's, whatever serves them."""
    return "neoc" if entry["artifact"] is not None else str(entry["engine"])


def _column(entry: Mapping[str, Any]) -> str:
    parts = [engine_of(entry), f"on {entry['target']}"]
    if entry["scenario"] != "single-stream":
        parts.append(entry["scenario"])
    if entry["load"]["batch"] > 1:
        parts.append(f"batch {entry['load']['batch']}")
    if entry["threads"] > 1:
        parts.append(f"{entry['threads']} threads")
    return ", ".join(parts)


def _columns(latest: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({_column(e) for e in latest}, key=lambda c: (not c.startswith("neoc"), c))


def _matrix(latest: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in latest:
        row = rows.setdefault((entry["model"]["name"], entry["machine"]["digest"]), {"cells": {}})
        row |= {"model": entry["model"]["name"], "machine": entry["machine"]["digest"]}
        row["cells"][_column(entry)] = _cell(entry)
    return [rows[key] for key in sorted(rows)]


def _cell(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Level on every cell; the scenario's first metric, tails that the sample supports, verdict against the first."""
    (metric, value), *_ = list(entry["metrics"].items()) or [("", None)]
    found = entry["verdicts"].get(metric)
    tails = [
        f"{q} {duration(ns)}" if ns is not None else f"{q} n too small (need {entry['needed'][q]})"
        for q, ns in entry["percentiles_ns"].items()
        if q in ("p90", "p99")
    ]
    return {
        "level": entry["level"],
        "figure": "not measured" if not value or value["value"] is None else figure(value),
        "metric": metric,
        "tails": tails if entry["n"] else [],
        "verdict": "" if found is None else found["verdict"],
        "ratio": None if found is None or found["effect"] is None else found["effect"]["ratio"],
        "why": "" if found is None else found["why"],
        "agrees": entry["agrees"],
        "serves": entry["variant"] if entry["artifact"] is not None else "",
        "created": entry["created"],
    }


def _by_model(latest: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    models: dict[str, list[Mapping[str, Any]]] = {}
    for entry in sorted(latest, key=lambda e: (e["model"]["name"], engine_of(e) != "neoc", _column(e))):
        models.setdefault(entry["model"]["name"], []).append(entry)
    return models


def _distributions(latest: Sequence[Mapping[str, Any]], figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    drawn = []
    for model, entries in _by_model(latest).items():
        shapes = {_column(e): e["histogram"] for e in entries if e["histogram"]}
        if shapes:
            drawn.append({"title": model, "figure": _put(figures, charts.distributions(shapes))})
    return drawn


def _histories(ledger: Ledger, figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One figure a model and machine: the first metric of each series, with Otava's change points past the floor."""
    groups: dict[tuple[str, str, str], dict[str, Any]] = {}
    for entries in ledger.series().values():
        last = entries[-1]
        if not last["metrics"]:
            continue
        metric = next(iter(last["metrics"]))
        points = [(e["created"], e["metrics"][metric]["value"]) for e in entries if e["metrics"].get(metric)]
        points = [(when, value) for when, value in points if value]
        unit = last["metrics"][metric]["unit"]
        scale = 1e6 if unit == "ns" else 1.0
        values = [value / scale for _, value in points]
        floor = float((last["floor"] or {}).get(metric) or 0.0)
        steps = [] if history.missing() else history.change_points(values, floor)
        key = (last["model"]["name"], last["machine"]["digest"], f"{metric}, {'ms' if unit == 'ns' else unit}")
        groups.setdefault(key, {})[_column(last)] = ([when for when, _ in points], values, steps)
    return [
        {
            "title": f"{model} ({machine})",
            "figure": _put(figures, charts.history(lines, unit))
            if any(len(v) > 1 for _, v, _ in lines.values())
            else None,
            "single": [f"{name} {values[-1]:.4g} ({unit})" for name, (_, values, _) in lines.items() if values],
            "changes": [
                f"{name}: {step.change:+.1%} from {times[step.at]} on"
                for name, (times, _, steps) in lines.items()
                for step in steps
            ],
        }
        for (model, machine, unit), lines in sorted(groups.items())
    ]


def _rooflines(latest: Sequence[Mapping[str, Any]], figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for entry in latest:
        placed = entry["roofline"]
        if placed:
            kind = f"{placed['dtype']}, {'one core' if entry['threads'] == 1 else 'all cores'}"
            point = {**placed, "model": entry["model"]["name"], "engine": engine_of(entry)}
            groups.setdefault((entry["machine"]["digest"], kind), []).append(point)
    return [
        {"title": f"{kind} ({machine})", "figure": _put(figures, charts.roofline(points)), "points": _placed(points)}
        for (machine, kind), points in sorted(groups.items())
    ]


def _placed(points: Sequence[Mapping[str, Any]]) -> list[str]:
    ranked = sorted(points, key=lambda p: -p["of_peak"])
    return [f"{p['model']} by {p['engine']}: {p['of_peak']:.0%} of peak, {p['of_roof']:.0%} of roof" for p in ranked]


def _footprint(entry: Mapping[str, Any]) -> dict[str, Any]:
    probe = entry["footprint"]
    energy = probe.get("gpu_j") if probe.get("gpu_j") is not None else probe.get("package_j")
    return {
        "model": entry["model"]["name"],
        "engine": _column(entry),
        "level": entry["level"],
        "bytes": entry["bytes"],
        **{key: entry["memory"][key] for key in ("rss", "uss", "peak", "threads")},
        "open_s": entry["phases"]["open_s"],
        "first_s": entry["phases"]["first_s"],
        "warm_up_s": entry["phases"]["warm_up_s"],
        "gpu": probe.get("gpu_bytes"),
        "energy": energy,
        "instructions": probe.get("instructions"),
    }


def _machines(latest: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = {e["machine"]["digest"]: e for e in latest}
    return [
        {"digest": digest, "facts": {k: v for k, v in e["machine"].items() if k != "digest" and v is not None},
         "versions": {k: v for k, v in e["versions"].items() if v}}
        for digest, e in sorted(found.items())
    ]  # fmt: skip


def _put(figures: list[dict[str, Any]], one: dict[str, Any]) -> int:
    figures.append(one)
    return len(figures) - 1


# ---- words ---------------------------------------------------------------------------------


def figure(metric: Mapping[str, Any]) -> str:
    return duration(metric["value"]) if metric["unit"] == "ns" else f"{metric['value']:.4g} {metric['unit']}"


def duration(ns: float) -> str:
    for unit, step in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= step:
            return f"{ns / step:.3g} {unit}"
    return f"{ns:.3g} ns"


def size(count: float) -> str:
    for unit, step in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count:.0f} B"
