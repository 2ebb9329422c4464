"""Front ends: any format -> Program. A table; a format is recognised by what the file holds, its suffix is a hint.

An ONNX file is read as it is. Every other front end is a converter: it writes an ordinary ONNX file, and the ONNX front
end reads that one, so that bindings, checks and the normal form are shared. How to write one: docs/front-ends.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from neoc.compile.errors import InvalidModel, UsageError
from neoc.compile.frontends import archive, pickles, recognise
from neoc.compile.frontends.contract import FrontEnd, Request
from neoc.compile.frontends.keras_file import is_keras
from neoc.compile.frontends.tf_recognise import is_graph_def, is_saved_model
from neoc.compile.frontends.tflite_file import is_tflite

if TYPE_CHECKING:
    import numpy as np

    from neoc.compile.options import CompileOptions, InputBinding
    from neoc.compile.program import Program, Source

_HERE = "neoc.compile.frontends"
_TREES = f"{_HERE}.trees"
_ITERATIONS = "boosting rounds to keep: 'best' (the best iteration where the file names one), 'all', or how many"
_TENSORFLOW = ("tensorflow", "tf2onnx")
_SIGNATURE = "name of the signature to compile, where there are several"

FRONT_ENDS = (
    FrontEnd("onnx", "ONNX (.onnx)", recognise.is_onnx, f"{_HERE}.onnx", isolated=False),
    FrontEnd(
        "torch-export",
        "PyTorch exported program (.pt2)",
        recognise.is_exported_program,
        f"{_HERE}.torch_export",
        framework="PyTorch",
        distribution="torch",
        packages=("torch", "onnxscript"),
        extra="torch",
        binds=False,
        objects=("torch.nn.modules.module:Module",),
    ),
    FrontEnd(
        "torch-script",
        "TorchScript archive (.pt, .jit)",
        recognise.is_torchscript,
        f"{_HERE}.torch_script",
        framework="PyTorch",
        distribution="torch",
        packages=("torch", "onnxscript"),
        extra="torch",
        options={"constants": "values of forward's arguments that are no tensors: sr=16000,flag=true"},
    ),
    FrontEnd(
        "torch-factory",
        "Python code (module.py:factory)",
        lambda path: False,
        f"{_HERE}.torch_factory",
        framework="PyTorch",
        distribution="torch",
        packages=("torch", "onnxscript"),
        extra="torch",
        factories=True,
    ),
    FrontEnd(
        "xgboost",
        "XGBoost (.json, .ubj)",
        recognise.is_xgboost,
        f"{_TREES}.xgboost_adapter",
        framework="XGBoost",
        distribution="xgboost",
        oracle_packages=("xgboost",),
        extra="trees",
        options={"iterations": _ITERATIONS},
        isolated=False,
        own_samples=True,
        objects=("xgboost.core:Booster", "xgboost.sklearn:XGBModel"),
    ),
    FrontEnd(
        "lightgbm",
        "LightGBM (.txt)",
        recognise.is_lightgbm,
        f"{_TREES}.lightgbm_adapter",
        framework="LightGBM",
        distribution="lightgbm",
        oracle_packages=("lightgbm",),
        extra="trees",
        options={"iterations": _ITERATIONS},
        isolated=False,
        own_samples=True,
        objects=("lightgbm.basic:Booster", "lightgbm.sklearn:LGBMModel"),
    ),
    FrontEnd(
        "scikit-learn",
        "scikit-learn saved by skops (.skops)",
        recognise.is_skops,
        f"{_TREES}.sklearn_adapter",
        framework="scikit-learn",
        distribution="scikit-learn",
        packages=("scikit-learn", "skops"),
        extra="trees",
        own_samples=True,
        objects=("sklearn.base:BaseEstimator",),
    ),
    FrontEnd(
        "saved-model",
        "TensorFlow SavedModel (a folder)",
        is_saved_model,
        f"{_HERE}.saved_model",
        framework="TensorFlow",
        distribution="tensorflow",
        packages=_TENSORFLOW,
        extra="tensorflow",
        options={"signature": _SIGNATURE, "tags": "tags of the graph to compile: serve,gpu"},
    ),
    FrontEnd(
        "keras",
        "Keras model (.keras, .h5)",
        is_keras,
        f"{_HERE}.keras",
        framework="Keras",
        distribution="keras",
        packages=(*_TENSORFLOW, "keras"),
        extra="tensorflow",
        objects=("keras.src.models.model:Model", "tf_keras.src.engine.training:Model"),
    ),
    FrontEnd(
        "tflite",
        "TensorFlow Lite (.tflite)",
        is_tflite,
        f"{_HERE}.tflite",
        framework="TensorFlow Lite",
        distribution="tensorflow",
        packages=_TENSORFLOW,
        extra="tensorflow",
        options={"signature": _SIGNATURE},
        own_samples=True,
    ),
    FrontEnd(
        "tensorflow-graph",
        "frozen TensorFlow graph (.pb)",
        is_graph_def,
        f"{_HERE}.tf_graph",
        framework="TensorFlow",
        distribution="tensorflow",
        packages=_TENSORFLOW,
        extra="tensorflow",
        options={"inputs": "tensors to feed: NAME,NAME", "outputs": "tensors to compute: NAME,NAME"},
    ),
)
"""in the order in which they are asked"""


def by_name(name: str) -> FrontEnd:
    return next(front_end for front_end in FRONT_ENDS if front_end.name == name)


def load(source: object, inputs: Mapping[str, InputBinding], options: CompileOptions | None = None) -> Program:
    """The model in `source` as a Program, its open dimensions bound as `inputs` says.

    `source` is a path, a `module.py:factory` reference, or a live object of a framework (see objects.py). Raises
    InvalidModel where it is no model that a front end reads, or a broken one; InvalidInput where a binding does not fit
    the model; UsageError for an --option that nobody knows; MissingTool where a framework is not installed;
    UnsupportedModel, with every layer that cannot be converted; WorkerFailure where the converter was lost.
    """
    from neoc.compile.options import CompileOptions

    options = options or CompileOptions()
    keepers: list[object] = []
    if not isinstance(source, str | os.PathLike):
        from neoc.compile.frontends.objects import materialise

        source, keeper = materialise(source, inputs, options)
        keepers.append(keeper)
    named, factory = _split_factory(os.fspath(source))
    path, front_end, found = _find(named, factory, inputs, options)
    keepers += found
    if options.framework is not None and front_end.framework != options.framework:
        raise InvalidModel(
            f"the model is no {options.framework or 'ONNX'} model",
            where=path.name,
            why=f"it is read as {front_end.title}",
            fix="name the framework that it is of",
        )
    pairs = _known_options(front_end, options)
    if front_end.name == "onnx":
        from neoc.compile.frontends.onnx import load as load_onnx

        program = load_onnx(path, inputs)
    else:
        from neoc.compile.frontends.conversion import load_converted

        request = Request(path, factory, dict(inputs), pairs, options.trust_pickle)
        program = load_converted(front_end, request, options)
    return _kept(program, Path(os.path.abspath(named)), keepers)


def oracle_of(source: Source) -> tuple[str, str]:
    """(framework and version, why it cannot be asked): both empty for ONNX, whose oracles are engines."""
    front_end = by_name(source.format)
    if source.converted is None:
        return "", ""
    if source.request is None or not front_end.framework:
        return "", "its own framework is not run by neoc"
    lacking = front_end.oracle_missing()
    if lacking is not None:
        return "", lacking
    return f"{front_end.framework} {front_end.framework_version()}", ""


def own_samples(program: Program, seed: int) -> Iterator[Sequence[Mapping[str, np.ndarray]]] | None:
    """Groups of samples that a front end makes itself; None where its source takes what neoc makes up for any graph."""
    source = program.source
    if source is None or source.request is None or not by_name(source.format).own_samples:
        return None
    return by_name(source.format).load_adapter().samples(program, source.request, seed)


def _kept(program: Program, named: Path, keepers: list[object]) -> Program:
    """The program under the name of the file that the user gave; what it was unpacked to lives as long as it does."""
    assert program.source is not None
    held = tuple(k for k in (*program.source.keepers, *keepers) if k is not None)
    provenance = program.provenance
    if program.source.path != named and named.is_file():  # it lay in an archive or a pickle
        inside = f"{named.name}/{program.source.path.name}"
        provenance = replace(provenance, name=inside, sha256=archive.digest(named))
    return replace(program, source=replace(program.source, keepers=held), provenance=provenance)


def _split_factory(text: str) -> tuple[str, str]:
    """(path, factory): `folder/model.py:make` names a function; everything else is a path."""
    path, colon, name = text.rpartition(":")
    if colon and path.endswith(".py") and name.isidentifier() and not os.path.lexists(text):
        return path, name
    return text, ""


def _find(
    source: str, factory: str, inputs: Mapping[str, InputBinding], options: CompileOptions
) -> tuple[Path, FrontEnd, list[object]]:
    """The absolute path, who reads it, and what keeps it alive. Raises InvalidModel."""
    keepers: list[object] = []
    try:
        path = Path(os.path.abspath(source))
        if not path.exists():
            raise _unusable(source, "there is no such file", _models_in(path.parent))
        if not path.is_file() and not path.is_dir():
            raise _unusable(source, "it is a device, pipe or socket, not a file", "give a file")
        if path.is_file() and archive.is_archive(path):
            path, keeper = archive.unpack(path, _may_be_model)
            keepers.append(keeper)
        front_end = _factory_reader(path) if factory else _reader(path)
        if front_end is None:
            pickles.refuse_weights(path)
            if pickles.is_pickled(path):
                if not options.trust_pickle:
                    raise pickles.refusal(path)
                path, keeper = pickles.unpickled(path, inputs, options)
                keepers.append(keeper)
                front_end = _reader(path)
        if front_end is not None:
            return path, front_end, keepers
        if path.is_dir():
            raise _unusable(source, f"it is {recognise.describe_folder(path)}", _models_in(path))
        kind = recognise.describe(path)
    except OSError as error:
        raise _unusable(source, error.strerror or str(error), "check the path and its permissions") from error
    except ValueError as error:  # a path with a NUL in it
        raise _unusable(source, str(error), "check the path") from error
    raise InvalidModel(
        "the model's format is not one that neoc reads",
        where=str(source),
        why=f"the file is {kind}",
        fix=f"neoc reads: {', '.join(f.title for f in FRONT_ENDS)}; export the model to one of these",
    )


def _reader(path: Path) -> FrontEnd | None:
    return next((front_end for front_end in FRONT_ENDS if front_end.recognise(path)), None)


def _may_be_model(path: Path) -> bool:
    """Whether a file in an archive is worth naming: what a front end reads, or a pickle, which then is explained."""
    return _reader(path) is not None or pickles.is_pickled(path)


def _factory_reader(path: Path) -> FrontEnd:
    found = next((front_end for front_end in FRONT_ENDS if front_end.factories), None)
    if found is None or not path.is_file():
        raise _unusable(str(path), "it is no Python file with a factory in it", "write module.py:factory")
    return found


def _known_options(front_end: FrontEnd, options: CompileOptions) -> dict[str, str]:
    """The --option pairs of this front end. Raises UsageError for a key that neither it nor an engine knows."""
    from neoc.compile import registry

    engines = {key: engine.name for engine in registry.engines() for key in engine.options}
    for key, _ in options.pairs:
        if key not in front_end.options and key not in engines:
            known = [f"{k} ({front_end.title})" for k in front_end.options]
            known += [f"{k} (engine {name})" for k, name in sorted(engines.items())]
            raise UsageError(
                f"there is no option {key!r}",
                where=f"--option {key}=...",
                why=f"neither {front_end.title} nor an engine knows it",
                fix=f"known here: {', '.join(known) or 'none'}",
            )
    return {key: value for key, value in options.pairs if key in front_end.options}


def _models_in(folder: Path) -> str:
    names = sorted(p.name for p in folder.glob("*.onnx"))[:5] if folder.is_dir() else []
    return f"there {'are' if names[1:] else 'is'}: {', '.join(names)}" if names else "give the path of a model file"


def _unusable(source: str | Path, why: str, fix: str) -> InvalidModel:
    shown = repr(str(source))[1:-1]
    return InvalidModel(
        "the model cannot be read", where=shown if len(shown) < 300 else f"{shown[:300]}...", why=why, fix=fix
    )
