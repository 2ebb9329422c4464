"""TensorFlow as neoc starts it: quiet, on one CPU thread, with kernels that round the same on every run.

Only worker processes come here. Each settles how TensorFlow behaves before it is imported, which is the only time when
it can be settled.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from neoc.compile.errors import InvalidModel

_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "ABSL_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",  # the reference is TensorFlow on the CPU; a GPU would be taken whole
    "TF_ENABLE_ONEDNN_OPTS": "0",  # oneDNN's kernels sum in another order from one machine to the next
    "KERAS_BACKEND": "tensorflow",
    "TF_USE_LEGACY_KERAS": "0",
}


def tensorflow() -> Any:
    """The module. The first call takes seconds."""
    os.environ.update(_ENVIRONMENT)
    warnings.filterwarnings("ignore")
    for name in ("tensorflow", "absl", "h5py", "tf2onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import tensorflow as tf

    if not getattr(tf, "neoc_ready", False):
        tf.get_logger().setLevel("ERROR")
        tf.autograph.set_verbosity(0)
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.neoc_ready = True
    return tf


@contextmanager
def explained(where: str, what: str, fix: str) -> Iterator[None]:
    """Whatever TensorFlow, Keras or tf2onnx raises inside becomes an InvalidModel in one paragraph."""
    from neoc.compile.errors import NeocError

    try:
        yield
    except (NeocError, MemoryError):
        raise
    except Exception as error:
        raise InvalidModel(what, where=where, why=first_words(error), fix=fix) from error


def first_words(error: BaseException, longest: int = 400) -> str:
    """The part of an error's text that says what is wrong, without stack traces, tensors' printouts and graph dumps."""
    text = str(getattr(error, "message", "") or error) or type(error).__name__
    text = re.split(r"\n\n|\nTraceback|\[Op:|\n\t ?\[\[|\[\[\{\{|\n\nStack trace", text.strip())[0]
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[:longest]}..."
