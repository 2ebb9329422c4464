"""How records and verdicts are told on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neoc.cli import console


def show(record: Mapping[str, Any]) -> None:
    """One row a subject: level, tails where the sample supports them, verdict against the first; then what to know."""
    tails = [q for q in ("p50", "p90", "p99") if all(q in r["percentiles_ns"] for r in record["results"])]
    rates = [m for r in record["results"][:1] for m, v in r["metrics"].items() if v["unit"] != "ns"]
    rows = []
    for result in record["results"]:
        rows.append(
            (
                result["subject"],
                result["level"],
                result["n"],
                *(_rate(result["metrics"][m]) for m in rates),
                *(tail(result, q) for q in tails),
                verdict_of(result),
                console.size(result["memory"]["rss"]),
            )
        )
    rows += [(name, "-", "-", *["-"] * (len(rates) + len(tails)), "lost", "-") for name in record["lost"]]
    columns = ("subject", "level", "n", *rates, *tails, "against the first", "resident")
    console.table(_title(record), columns, rows, _remark(record))
    for result in record["results"]:
        for line in _details(result):
            print(line)
    for name, why in record["lost"].items():
        print(f"lost: {name}: {why}")


def _title(record: Mapping[str, Any]) -> str:
    load = record["load"]
    parts = [record["scenario"]]
    if load["batch"] > 1:
        parts.append(f"batch {load['batch']}")
    if "latency_s" in load:
        parts.append(f"p{load['percentile'] * 100:g} within {console.seconds(load['latency_s'] * 1e9)}")
    return ", ".join(parts)


def _remark(record: Mapping[str, Any]) -> str:
    machine = record["machine"]["machine"]
    runs = max((r["runs"] for r in record["results"]), default=0)
    place = f"on {record['device']['name']}: " if record.get("device") else ""
    remark = f"{place}{machine['cpu']}, {record['threads']} threads; {runs} process runs of each, in turns"
    return "; ".join(filter(None, (remark, record["noise"])))


def _rate(metric: Mapping[str, Any]) -> str:
    return "not found" if metric["value"] is None else f"{metric['value']:.4g} {metric['unit']}"


def tail(result: Mapping[str, Any], q: str) -> str:
    value = result["percentiles_ns"][q]
    return f"n too small (need {result['needed'][q]})" if value is None else console.seconds(value)


def verdict_of(result: Mapping[str, Any]) -> str:
    """The first metric's verdict with the ratio of times and its interval."""
    if not result["verdicts"]:
        return "the first"
    metric, found = next(iter(result["verdicts"].items()))
    words = found["verdict"] if not found["why"] else f"{found['verdict']} ({found['why']})"
    effect = found["effect"]
    if effect is None:
        return words
    low, high = effect["interval"]
    bounds = f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else ""
    return f"{metric} x {effect['ratio']:.3f}{bounds}: {words}"


def _details(result: Mapping[str, Any]) -> list[str]:
    from neoc.bench.roofline import words

    phases = result["phases"]
    parts = [
        f"open {console.seconds(phases['open_s'] * 1e9)}",
        f"first {console.seconds(phases['first_s'] * 1e9)}",
        f"warm-up {console.seconds(phases['warm_up_s'] * 1e9)}, {phases['warm_up_iterations']:.0f} iterations",
        f"file {console.size(result['bytes'])}, unshared {console.size(result['memory']['uss'])}, "
        f"{result['memory']['threads']} threads",
        words(result["roofline"]),
    ]
    if result["agrees"] == "differs":
        parts.append("its outputs DIFFER from the first subject's")
    stages = result.get("stages")
    if stages:
        parts.append("stages " + ", ".join(f"{k} {console.seconds(v)}" for k, v in stages.items()))
    return [f"{result['subject']}: {'; '.join(filter(None, parts))}"]


def show_comparison(found: Mapping[str, Any]) -> None:
    rows = []
    for row in found["rows"]:
        effect = row["effect"]
        interval = "-"
        if effect is not None and effect["interval"][0] is not None:
            interval = f"[{effect['interval'][0]:.3f}, {effect['interval'][1]:.3f}]"
        words = row["verdict"] + (f" ({row['why']})" if row["why"] else "")
        floor = "unknown" if row["floor"] is None else f"{row['floor']:.1%}"
        ratio = "-" if effect is None else f"{effect['ratio']:.3f}"
        rows.append((row["subject"], row["level"], row["metric"], ratio, interval, floor, words))
    columns = ("subject", "level", "metric", "new time / base", "interval", "A/A floor", "verdict")
    console.table(
        f"comparison, {found['scenario']}", columns, rows, "; ".join([*found["versions"], found["noise"]]).strip("; ")
    )
