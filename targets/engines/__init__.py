"""Engines: one compiler and its runtime each, found by entry point. `reference.py` is the template of the next one."""

from __future__ import annotations

ENGINES = {
    "onnxruntime": "neoc.targets.engines.onnxruntime:OnnxRuntime",
    "openvino": "neoc.targets.engines.openvino:OpenVino",
    "reference": "neoc.targets.engines.reference:Reference",
    "tvm": "neoc.targets.engines.tvm:Tvm",
    "trees": "neoc.targets.engines.trees:Trees",
    "neuron": "neoc.targets.engines.neuron:Neuron",
    "torch-neuronx": "neoc.targets.engines.torch_neuronx:TorchNeuronx",
    "cuda": "neoc.targets.engines.cuda:Cuda",
    "cuda-trees": "neoc.targets.engines.cuda.trees:CudaTrees",
    "onnxruntime-gpu": "neoc.targets.engines.onnxruntime_gpu:OnnxRuntimeGpu",
    "tensorrt": "neoc.targets.engines.tensorrt:TensorRt",
    "tensorrt-rtx": "neoc.targets.engines.tensorrt.rtx:TensorRtRtx",
}
"""the entry points of the group `neoc.engines`: to search for them takes as long as to open a small model"""
