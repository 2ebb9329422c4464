"""`neoc recommend`: the cheapest way to serve a model at a rate, within a latency objective, by what was measured.

From the server scenario, the rate that held such a bound is taken as it is. From single-stream, requests are simulated
as a queue (Poisson arrivals, service times drawn from the measured distribution) at rates that fall until the objective
holds. Replicas are what the rate asks for; the price is theirs. Targets without a measurement are bounded by the
roofline of their description and listed apart, as `modelled`: a bound is a hope, not a figure.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neoc.bench import percentiles, record
from neoc.bench.ledger import Ledger
from neoc.compile import registry
from neoc.compile.contracts import Level, Target
from neoc.compile.errors import InvalidInput, NeocError

PRICES = Path(__file__).with_name("prices.toml")
REQUESTS = 20_000
MOST_UTILISATION = 0.98


def recommend(
    digest: str,
    ledger: Ledger,
    objective: tuple[float, float],
    rate: float,
    prices: Mapping[str, Any],
    work: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """{'measured': rows, the cheapest first, 'unfit': rows that cannot hold it, 'modelled': unmeasured targets}.

    objective: (percentile, seconds). work: FLOPs and compulsory bytes of one inference, for the modelled bounds.
    """
    entries = [e for e in ledger.entries if e["model"]["sha256"] == digest]
    latest: dict[tuple[str, ...], dict[str, Any]] = {}
    for entry in entries:
        record.refuse_stand_in(entry["subject"], entry["level"])
        if entry["n"] and Level(entry["level"]) is Level.EXECUTED and entry["agrees"] != "differs":
            parts = (entry["target"], entry["engine"], entry["threads"], entry["scenario"], entry["load"]["batch"])
            key = (entry["machine"]["digest"], *map(str, parts))
            latest[key] = entry
    rows = [row for entry in latest.values() if (row := _row(entry, objective, rate, prices)) is not None]
    fit = [row for row in rows if row["replicas"] is not None]
    order = sorted(fit, key=lambda r: (r["cost"] is None, r["cost"] or 0.0, r["replicas"], -r["capacity"]))
    measured = {entry["target"] for entry in latest.values()}
    return {
        "objective": {"percentile": objective[0], "seconds": objective[1]},
        "rate": rate,
        "measured": order,
        "unfit": [row for row in rows if row["replicas"] is None],
        "modelled": modelled(measured, objective, rate, prices, work),
        "currency": prices.get("currency", ""),
    }


def _row(
    entry: Mapping[str, Any], objective: tuple[float, float], rate: float, prices: Mapping[str, Any]
) -> dict[str, Any] | None:
    found = capacity(entry, objective)
    if found is None:
        return None
    held, how = found
    replicas = math.ceil(rate / held) if held > 0 else None
    cost = _price(entry, prices)
    return {
        "target": entry["target"],
        "engine": "neoc" if entry["artifact"] else entry["engine"],
        "variant": entry["variant"],
        "machine": entry["machine"]["digest"],
        "cpu": entry["machine"].get("cpu"),
        "level": entry["level"],
        "scenario": entry["scenario"],
        "capacity": held,
        "how": how,
        "replicas": replicas,
        "cost": None if cost is None or replicas is None else replicas * cost * entry["threads"],
        "measured": entry["created"],
    }


def capacity(entry: Mapping[str, Any], objective: tuple[float, float]) -> tuple[float, str] | None:
    """(requests per second of one replica within the objective, how that is known); None where nothing can be said."""
    q, bound = objective
    if entry["load"]["batch"] != 1:
        return None
    if entry["scenario"] == "server":
        held = entry["load"].get("latency_s", math.inf) <= bound and entry["load"].get("percentile", 0) >= q
        rate = entry["metrics"]["rate"]["value"]
        return (float(rate), "measured under load") if held and rate else None
    if entry["scenario"] != "single-stream" or not entry["histogram"]:
        return None
    if entry["percentiles_ns"].get(percentiles.name(q), 0) is None:
        return None  # the sample does not support that percentile: nothing is promised on it
    return queue_rate(services(entry["histogram"]), q, bound), "queue of measured service times"


def services(shape: Mapping[str, Any]) -> np.ndarray:
    """REQUESTS service times in seconds, drawn from a ledger's histogram."""
    counts = np.array(shape["counts"], float)
    rng = np.random.default_rng(0)
    bins = rng.choice(len(counts), REQUESTS, p=counts / counts.sum())
    width = (shape["log10_high"] - shape["log10_low"]) / len(counts)
    drawn: np.ndarray = 10 ** (shape["log10_low"] + (bins + rng.random(REQUESTS)) * width) / 1e9
    return drawn


def queue_rate(times: np.ndarray, q: float, bound: float) -> float:
    """The highest Poisson rate at which one server with these service times holds the q-quantile; 0 where none does."""
    if float(np.quantile(times, q)) > bound:
        return 0.0
    gaps = np.random.default_rng(1).exponential(1.0, len(times) - 1)

    def holds(rate: float) -> bool:
        walk = np.concatenate([[0.0], np.cumsum(times[:-1] - gaps / rate)])
        return float(np.quantile(walk - np.minimum.accumulate(walk) + times, q)) <= bound

    low, high = 1e-6 / times.mean(), MOST_UTILISATION / times.mean()
    if holds(high):
        return float(high)
    while high / low > 1.005:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return float(low)


# ---- targets without a measurement ---------------------------------------------------------


def modelled(
    measured: set[str],
    objective: tuple[float, float],
    rate: float,
    prices: Mapping[str, Any],
    work: tuple[int, int] | None,
) -> list[dict[str, Any]]:
    """Every registered target that was never measured for the model, with the bound that its description gives."""
    rows: list[dict[str, Any]] = []
    for name in registry.target_names():
        if name in measured:
            continue
        try:
            target = registry.load_target(name)
        except NeocError as error:
            rows.append({"target": name, "bound_s": None, "why": str(error), "replicas": None, "cost": None})
            continue
        bound = roof_seconds(target, work)
        fits = bound is not None and bound <= objective[1]
        replicas = math.ceil(rate * bound) if bound is not None and fits else None
        price = prices.get("target", {}).get(name)
        rows.append(
            {
                "target": name,
                "bound_s": bound,
                "why": "no peak is known of it"
                if bound is None
                else ""
                if fits
                else "not even its roof holds the objective",
                "replicas": replicas,
                "cost": None if replicas is None or price is None else replicas * float(price),
            }
        )
    return rows


def roof_seconds(target: Target, work: tuple[int, int] | None) -> float | None:
    """The least time one inference can take: FLOPs over peak, bytes over bandwidth, the larger."""
    peak = target.peak_flops.get("float32")
    if work is None or peak is None:
        return None
    times = [work[0] / peak.value]
    if target.bandwidth is not None:
        times.append(work[1] / target.bandwidth.value)
    return max(times)


# ---- prices --------------------------------------------------------------------------------


def read_prices(path: Path | None) -> dict[str, Any]:
    """The table of prices per replica and hour, by machine digest or target. Raises InvalidInput."""
    place = path or PRICES
    try:
        found = tomllib.loads(place.read_text(encoding="utf-8"))
        for section in ("machine", "target"):
            for key, value in found.get(section, {}).items():
                if not float(value) >= 0:
                    raise ValueError(f"{section}.{key} is {value}")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InvalidInput(
            "the prices cannot be read", where=str(place), why=str(error), fix="see bench/prices.toml for the layout"
        ) from error
    return found


def _price(entry: Mapping[str, Any], prices: Mapping[str, Any]) -> float | None:
    """Per replica and hour: the machine's own price goes before its target's."""
    found = prices.get("machine", {}).get(entry["machine"]["digest"], prices.get("target", {}).get(entry["target"]))
    return None if found is None else float(found)


def cheapest(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return rows[0] if rows else None
