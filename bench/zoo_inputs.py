"""Realistic inputs for the zoo's models: synthesized audio, drawn text, the bytes of real source files.

Every generator returns input name -> array with one leading axis of samples: what `NAME.npz` holds. Samples of one
model differ, so that a dead network shows. Audio is rounded to 16-bit steps, as recordings are, and images are drawn in
integers: the same bytes come out on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
Floats = NDArray[np.float32]


# ---- audio ---------------------------------------------------------------------------------

SPEECH_RATE_HZ, CHUNK, CONTEXT = 16_000, 512, 64
"""silero at 16 kHz takes chunks of 512 new samples after 64 samples of the chunk before"""
PITCH_RATE_HZ, PITCH_SAMPLES = 22_050, 43_844
"""basic-pitch takes windows of just under two seconds"""


def _pcm16(wave: NDArray[np.float64]) -> Floats:
    """Round to the steps of 16-bit audio; full scale is 1."""
    return (np.rint(wave * 32767) / 32768).astype(np.float32)


def _speech_like(seconds: float) -> Floats:
    """A tone around 180 Hz with vibrato and four loudness peaks a second, as a voice has."""
    t = np.arange(int(seconds * SPEECH_RATE_HZ)) / SPEECH_RATE_HZ
    wave = 0.3 * np.sin(2 * np.pi * (180 + 40 * np.sin(2 * np.pi * 3 * t)) * t)
    return _pcm16(wave * (1 + np.sin(2 * np.pi * 4 * t)) / 2)


def _frames(audio: Floats) -> Floats:
    """(frames, 576): every chunk of 512 samples after the 64 before it, zeros before the first."""
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), audio])
    count = len(audio) // CHUNK
    return np.stack([padded[i * CHUNK : i * CHUNK + CONTEXT + CHUNK] for i in range(count)])


def _states(samples: int) -> Floats:
    """(samples, 2, 1, 128) LSTM states: zero at the start of a stream, then values well inside (-1, 1)."""
    index = np.arange(2 * 128).reshape(2, 1, 128)
    steps = [k * ((index * 37 + 11 * k) % 129 - 64) for k in range(samples)]
    return (np.stack(steps) / (128.0 * samples)).astype(np.float32)


def silero_16k() -> Arrays:
    """Four frames of one stream: input (4, 1, 576), state (4, 2, 1, 128)."""
    return {"input": _frames(_speech_like(0.6))[[0, 4, 9, 14], None, :], "state": _states(4)}


def silero_vad() -> Arrays:
    """The same frames for the model of both rates: `sr` is 16000."""
    return silero_16k() | {"sr": np.full(4, SPEECH_RATE_HZ, np.int64)}


def silero_jit() -> Arrays:
    """The same frames for the scripted module: x (4, 1, 512), and as context (4, 1, 64) what went before."""
    frames = silero_16k()["input"]
    return {
        "x": np.ascontiguousarray(frames[..., 64:]),
        "context": np.ascontiguousarray(frames[..., :64]),
        "state": _states(4),
    }


def silero_sequence() -> Arrays:
    """Two recordings of 80 frames (2.56 s): input (2, 80, 576), h and c (2, 1, 1, 128)."""
    frames = _frames(_speech_like(5.2))
    state = _states(2)
    return {
        "input": np.stack([frames[:80], frames[80:160]]),
        "h": np.ascontiguousarray(state[:, :1]),
        "c": np.ascontiguousarray(state[:, 1:]),
    }


def chord() -> Arrays:
    """C-E-G, then A-C-E, with harmonics and a decay after each of two strokes: (2, 1, 43844, 1)."""
    t = np.arange(PITCH_SAMPLES) / PITCH_RATE_HZ
    triads = ((261.63, 329.63, 392.00), (220.00, 261.63, 329.63))
    waves = []
    for triad in triads:
        tones = sum(np.sin(2 * np.pi * f * h * t) / h**2 for f in triad for h in (1, 2, 3, 4))
        waves.append(_pcm16(0.15 * np.asarray(tones) * np.exp(-3 * (t % 1.0))))
    return {"serving_default_input_2:0": np.stack(waves)[:, None, :, None]}


# ---- text images ---------------------------------------------------------------------------

_GLYPHS = {  # five columns a glyph, lowest bit on top: the common 5x7 terminal font
    " ": "0000000000", ".": "0060600000", ":": "0000360000", "0": "3e5149453e", "1": "00427f4000",
    "2": "7249494946", "3": "2141494d33", "4": "1814127f10", "5": "2745454539", "6": "3c4a494931",
    "7": "4121110907", "8": "3649494936", "9": "464949291e", "A": "7e1111117e", "B": "7f49494936",
    "C": "3e41414122", "D": "7f4141413e", "E": "7f49494941", "F": "7f09090901", "G": "3e41415132",
    "H": "7f0808087f", "I": "00417f4100", "J": "2040413f01", "K": "7f08142241", "L": "7f40404040",
    "M": "7f021c027f", "N": "7f0408107f", "O": "3e4141413e", "P": "7f09090906", "Q": "3e4151215e",
    "R": "7f09192946", "S": "2649494932", "T": "03017f0103", "U": "3f4040403f", "V": "1f2040201f",
    "W": "3f4038403f", "X": "6314081463", "Y": "0304780403", "Z": "6159494d43",
}  # fmt: skip
_PAPER, _INK = (236, 240, 244), (40, 36, 32)


def _line_mask(text: str, scale: int) -> NDArray[np.bool_]:
    """The pixels of one line of text, 7 * scale high and 6 * scale wide a letter."""
    columns = [int(_GLYPHS[c][i : i + 2], 16) for c in text for i in (0, 2, 4, 6, 8)]
    bits = (np.array(columns)[None, :] >> np.arange(7)[:, None]) & 1
    spaced = np.zeros((7, len(text), 6), bool)
    spaced[:, :, :5] = bits.reshape(7, len(text), 5)
    return spaced.reshape(7, -1).repeat(scale, 0).repeat(scale, 1)


def _page(height: int, width: int, lines: tuple[tuple[int, int, int, str], ...]) -> NDArray[np.uint8]:
    """(height, width, 3) paper with dark text; a line is (top, left, scale, text)."""
    image = np.empty((height, width, 3), np.uint8)
    image[:] = _PAPER
    for top, left, scale, text in lines:
        mask = _line_mask(text, scale)
        image[top : top + mask.shape[0], left : left + mask.shape[1]][mask] = _INK
    return image


def _normalised(image: NDArray[np.uint8]) -> Floats:
    """(1, 3, height, width) in [-1, 1], as PP-OCR takes it: (x / 255 - .5) / .5."""
    scaled = (image.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def text_page() -> Arrays:
    """Two pages of a few lines for the detector, both sides a multiple of 32: (2, 1, 3, 320, 640)."""
    receipt = ((30, 40, 5, "COFFEE HOUSE"), (100, 40, 4, "ESPRESSO 2.40"), (150, 40, 4, "WATER 1.90"),
               (220, 40, 6, "TOTAL 4.30"))  # fmt: skip
    notice = ((60, 120, 6, "PLATFORM 9"), (150, 60, 4, "TRAIN TO OXFORD"), (210, 60, 4, "DEPARTS 17:05"))
    pages = [_normalised(_page(320, 640, lines)) for lines in (receipt, notice)]
    return {"x": np.stack(pages)}


def text_line() -> Arrays:
    """Crops of one line for the classifier, two upright and the same two turned: (4, 1, 3, 48, 192)."""
    upright = [_page(48, 192, ((10, 12, 4, text),)) for text in ("INVOICE", "TOTAL 7")]
    turned = [image[::-1, ::-1] for image in upright]
    return {"x": np.stack([_normalised(image) for image in (*upright, *turned)])}


# ---- bytes of files ------------------------------------------------------------------------

_PYTHON = b'''\
#!/usr/bin/env python3
"""Count the words of a file, the most frequent first."""

import argparse
import re
import sys
from collections import Counter
from pathlib import Path


def count_words(text: str) -> Counter[str]:
    return Counter(re.findall(r"[a-z']+", text.lower()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--top", type=int, default=10)
    arguments = parser.parse_args()
    try:
        text = arguments.path.read_text(encoding="utf-8")
    except OSError as error:
        print(f"cannot read {arguments.path}: {error}", file=sys.stderr)
        return 1
    for word, count in count_words(text).most_common(arguments.top):
        print(f"{count:6d}  {word}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
'''
_JSON = b"""\
{
  "name": "weather-station",
  "version": 3,
  "sensors": [
    {"id": "t0", "kind": "temperature", "unit": "K", "range": [223.15, 333.15]},
    {"id": "h0", "kind": "humidity", "unit": "%", "range": [0, 100]},
    {"id": "p0", "kind": "pressure", "unit": "Pa", "range": [87000, 108500]}
  ],
  "interval_s": 30,
  "upload": {"host": "collector.local", "port": 8883, "tls": true, "retry": null}
}
"""
_HTML = b"""\
<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Opening hours</title>
  <style>body { font-family: serif; margin: 2em; } td { padding: .2em 1em; }</style>
</head>
<body>
  <h1>Opening hours</h1>
  <table>
    <tr><td>Monday to Friday</td><td>9:00 to 18:00</td></tr>
    <tr><td>Saturday</td><td>10:00 to 14:00</td></tr>
  </table>
  <p>Closed on public holidays. <a href="contact.html">Contact</a></p>
</body>
</html>
"""
_WINDOW, _PADDING = 1024, 256


def magika_tokens(content: bytes) -> NDArray[np.int32]:
    """(1, 2048) tokens: the first and the last 1024 bytes, outer blanks stripped; 256 where there are none."""
    head = np.frombuffer(content[: 4 * _WINDOW].lstrip()[:_WINDOW], np.uint8)
    tail = np.frombuffer(content[-4 * _WINDOW :].rstrip()[-_WINDOW:], np.uint8)
    tokens = np.full((1, 2 * _WINDOW), _PADDING, np.int32)
    tokens[0, : len(head)] = head
    tokens[0, 2 * _WINDOW - len(tail) :] = tail
    return tokens


def file_bytes() -> Arrays:
    """A Python script, a JSON document and a web page: (3, 1, 2048)."""
    return {"bytes": np.stack([magika_tokens(content) for content in (_PYTHON, _JSON, _HTML)])}


# ---- tables --------------------------------------------------------------------------------

_VOICES: tuple[tuple[float, float, float], ...] = (
    # low and high voice, spread: mean frequency, sd, median, Q25, Q75, IQR (kHz), skew, kurtosis, spectral entropy,
    # flatness, mode, centroid, mean, least and most fundamental, mean, least and most dominant, their range, modulation
    (0.17, 0.19, 0.02), (0.065, 0.05, 0.01), (0.17, 0.2, 0.03), (0.12, 0.165, 0.03), (0.225, 0.23, 0.02),
    (0.105, 0.06, 0.03), (3.0, 2.9, 1.5), (30.0, 35.0, 20.0), (0.91, 0.88, 0.03), (0.45, 0.35, 0.12),
    (0.14, 0.18, 0.05), (0.17, 0.19, 0.02), (0.115, 0.17, 0.02), (0.035, 0.04, 0.015), (0.25, 0.265, 0.02),
    (0.7, 0.95, 0.4), (0.04, 0.06, 0.04), (4.5, 5.6, 2.5), (4.4, 5.5, 2.5), (0.18, 0.17, 0.08),
)  # fmt: skip


def voices() -> Arrays:
    """(3, 64, 20) acoustic statistics of made-up voices, every second one high, one value in fifty missing.

    In steps of 1/4096, so that the same bits come out everywhere.
    """
    index = np.arange(3 * 64 * 20).reshape(3, 64, 20)
    low, high, spread = np.array(_VOICES).T
    unit = ((index * 7919 + 104729) % 2039) / 1019.5 - 1.0
    centre = np.where(np.arange(64)[:, None] % 2 == 1, high, low)
    rows = np.rint((centre + unit * spread) * 4096) / 4096
    rows[index % 50 == 17] = np.nan
    return {"features": rows.astype(np.float32)}


GENERATORS: dict[str, Callable[[], Arrays]] = {
    f.__name__: f
    for f in (silero_vad, silero_16k, silero_jit, silero_sequence, chord, text_page, text_line, file_bytes, voices)
}
"""what the `inputs` key of zoo.toml names"""
