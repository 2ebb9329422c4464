"""SageMaker Neo's device names: every one gets an answer.

The names are the TargetDevice enumeration of CreateCompilationJob (SageMaker API, service model of botocore 1.43).
A target that is served lists its Neo names among its aliases; the table below says what becomes of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SERVED, NEAREST, RETIRED = "served", "nearest", "retired"


@dataclass(frozen=True)
class NeoName:
    """One of Neo's names. `target`: what serves it, or what is nearest to it, or '' where nothing is."""

    name: str
    status: str
    target: str
    why: str

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "status": self.status, "target": self.target, "why": self.why}


def _rows(status: str, target: str, why: str, names: str) -> list[NeoName]:
    return [NeoName(name, status, target, why) for name in names.split()]


_TABLE = [
    *_rows(SERVED, "x86-64-v3", "Haswell and Broadwell: AVX2 and FMA", "ml_m4 ml_c4"),
    *_rows(SERVED, "x86-64-v3", "Lambda's x86 workers promise AVX2", "lambda"),
    *_rows(SERVED, "x86-64-v4", "Skylake-SP and later: AVX-512", "ml_m5 ml_c5"),
    *_rows(SERVED, "inf2", "Inferentia2", "ml_inf2"),
    *_rows(SERVED, "trn1", "Trainium", "ml_trn1"),
    *_rows(SERVED, "inf1", "Inferentia1, archived by AWS: neoc reports on models for it and builds none", "ml_inf1"),
    *_rows(SERVED, "graviton2", "Graviton2: Neoverse N1", "ml_m6g ml_c6g"),
    *_rows(SERVED, "rasp4b", "Raspberry Pi 4 under a 64-bit system", "rasp4b"),
    *_rows(SERVED, "rk3399", "Cortex-A72 and Cortex-A53, 64-bit", "rk3399"),
    *_rows(SERVED, "imx8qm", "Cortex-A72 and Cortex-A53, 64-bit", "imx8qm"),
    *_rows(SERVED, "imx8mplus", "Cortex-A53, 64-bit; its neural processor is not used", "imx8mplus"),
    *_rows(SERVED, "rasp3b", "Raspberry Pi 3 under a 32-bit system: Armv7-A with NEON", "rasp3b"),
    *_rows(SERVED, "rk3288", "Cortex-A17: Armv7-A with NEON", "rk3288"),
    *_rows(NEAREST, "aarch64", "its cores are 64-bit ARM", "sbe_c aisage"),
    *_rows(
        NEAREST, "aarch64", "its host cores are 64-bit ARM, its accelerator is not used", "jacinto_tda4vm qcs605 qcs603"
    ),
    *_rows(SERVED, "t4", "NVIDIA T4", "ml_g4dn"),
    *_rows(SERVED, "v100", "NVIDIA V100", "ml_p3"),
    *_rows(SERVED, "jetson-nano", "Jetson Nano: sm_53", "jetson_nano"),
    *_rows(SERVED, "jetson-tx1", "Jetson TX1: sm_53", "jetson_tx1"),
    *_rows(SERVED, "jetson-tx2", "Jetson TX2: sm_62", "jetson_tx2"),
    *_rows(SERVED, "jetson-xavier", "Jetson Xavier: sm_72", "jetson_xavier"),
    *_rows(NEAREST, "x86-64-v3", "its CPU is x86; no CUDA 12 or 13 compiles for its GPU, a K80 (sm_37)", "ml_p2"),
    *_rows(NEAREST, "x86-64", "neoc builds for Linux", "x86_win32 x86_win64"),
    *_rows(NEAREST, "rk3288", "its cores are 32-bit ARM, its signal processors are not used", "sitara_am57x"),
    *_rows(
        NEAREST,
        "",
        "Core ML models are built by Apple's coremltools, from the ONNX that `neoc export` writes",
        "coreml",
    ),
    *_rows(RETIRED, "x86-64-v4", "Elastic Inference was shut down by AWS", "ml_eia2"),
    *_rows(RETIRED, "", "DeepLens was shut down by AWS", "deeplens"),
    *_rows(
        RETIRED, "", "Ambarella's tool chain is closed, and Neo's support for it ended", "amba_cv2 amba_cv22 amba_cv25"
    ),
]
NEO_NAMES: dict[str, NeoName] = {row.name: row for row in _TABLE}
