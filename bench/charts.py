"""The report's figures, as plotly's JSON: data and layout, drawn by the library that the page carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neoc.bench.history import Step

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
"""Okabe and Ito's palette: told apart by colour-blind readers"""
Figure = dict[str, Any]


def _layout(x: Mapping[str, Any], y: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    axis = {"automargin": True, "gridcolor": "#8884", "zeroline": False}
    return {
        "xaxis": {**axis, **x},
        "yaxis": {**axis, **y},
        "margin": {"l": 48, "r": 12, "t": 12, "b": 40},
        "legend": {"orientation": "h", "y": -0.25, "x": 0},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": 12, "color": "#777"},
        "hovermode": "closest",
        **more,
    }


def title(text: str) -> dict[str, Any]:
    return {"title": {"text": text, "standoff": 8}}


def history(lines: Mapping[str, tuple[Sequence[str], Sequence[float], Sequence[Step]]], unit: str) -> Figure:
    """Name -> (times, values, change points): one line each, a diamond where it changed."""
    data: list[dict[str, Any]] = []
    for index, (name, (times, values, steps)) in enumerate(lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        data.append(
            {"type": "scatter", "mode": "lines+markers", "name": name, "x": list(times), "y": list(values),
             "line": {"color": colour, "width": 2}, "marker": {"size": 5}}
        )  # fmt: skip
        if steps:
            data.append(
                {"type": "scatter", "mode": "markers", "name": f"{name}: change", "x": [times[s.at] for s in steps],
                 "y": [values[s.at] for s in steps], "text": [f"{s.change:+.1%}, p = {s.p:.1g}" for s in steps],
                 "marker": {"symbol": "diamond", "size": 13, "color": colour, "line": {"width": 2, "color": "#c00"}}}
            )  # fmt: skip
    return {"data": data, "layout": _layout({"type": "date"}, {**title(unit), "rangemode": "tozero"})}


def distributions(shapes: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Name -> histogram of record.histogram: the share of inferences over latency, logarithmic."""
    data = []
    for index, (name, shape) in enumerate(shapes.items()):
        counts = np.array(shape["counts"], float)
        edges = np.linspace(shape["log10_low"], shape["log10_high"], len(counts) + 1)
        middle = 10 ** ((edges[1:] + edges[:-1]) / 2) / 1e6
        data.append(
            {"type": "scatter", "mode": "lines", "name": name, "x": middle.round(6).tolist(),
             "y": (counts / counts.sum()).round(6).tolist(), "fill": "tozeroy",
             "line": {"color": COLOURS[index % len(COLOURS)], "width": 1.5, "shape": "hvh"}}
        )  # fmt: skip
    return {
        "data": data,
        "layout": _layout({**title("latency, ms"), "type": "log"}, {**title("share"), "tickformat": ".0%"}),
    }


def roofline(points: Sequence[Mapping[str, Any]]) -> Figure:
    """Each with name, intensity, achieved_flops, peak_flops, bandwidth: the highest roof, and the points below it."""
    peak, band = max(p["peak_flops"] for p in points), max(p["bandwidth"] for p in points)
    ridge = peak / band
    low = min([ridge / 30, *(p["intensity"] / 2 for p in points)])
    high = max([ridge * 30, *(p["intensity"] * 2 for p in points)])
    xs = [low, ridge, high]
    data: list[dict[str, Any]] = [
        {"type": "scatter", "mode": "lines", "name": "measured roof", "x": xs,
         "y": [min(peak, x * band) / 1e9 for x in xs], "line": {"color": "#888", "width": 2}}
    ]  # fmt: skip
    engines = sorted({p["engine"] for p in points})
    for index, engine in enumerate(engines):
        own = [p for p in points if p["engine"] == engine]
        data.append(
            {"type": "scatter", "mode": "markers", "name": engine, "x": [p["intensity"] for p in own],
             "y": [p["achieved_flops"] / 1e9 for p in own],
             "text": [f"{p['model']}: {p['of_peak']:.0%} of peak, {p['of_roof']:.0%} of roof" for p in own],
             "marker": {"size": 10, "color": COLOURS[index % len(COLOURS)]}}
        )  # fmt: skip
    x = {**title("FLOP per byte that must move"), "type": "log"}
    return {"data": data, "layout": _layout(x, {**title("GFLOP/s"), "type": "log"})}
