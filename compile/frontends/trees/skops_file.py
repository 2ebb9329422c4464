"""Opening a .skops file: what may be in it, and what it may cost to find out."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

from neoc.compile.errors import InvalidModel
from neoc.compile.frontends.trees.ensemble import broken

TRUSTED = (
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    # HistGradientBoosting keeps partial(check_array, ...) as the function of its own numeric columns.
    "functools.partial",
    "sklearn.utils.validation.check_array",
    "numpy.dtype",  # imputers keep that of their input
)
"""beside what skops itself trusts (scikit-learn's estimators, numpy's arrays and dtypes): nothing of these runs code
that a file brings. What their arrays hold is checked before scikit-learn gets to index with it."""

_MOST_BYTES = 1 << 31
_MOST_MEMBERS = 200_000


def load(path: Path) -> Any:
    """The estimator in the file. Raises InvalidModel; never unpickles, never imports what is not trusted."""
    _check_archive(path)
    import skops.io

    try:
        unknown = sorted(skops.io.get_untrusted_types(file=path))
    except Exception as error:  # what skops raises on damaged content is not documented
        raise _damaged(error) from error
    refused = [name for name in unknown if name not in TRUSTED]
    if refused:
        raise InvalidModel(
            "the file holds objects that neoc does not load",
            where=path.name,
            why=f"their types are not on its list: {', '.join(refused)[:300]}",
            fix="a type from outside scikit-learn could run any code; save the model without it",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a version other than the one that saved it
            return skops.io.load(path, trusted=unknown)
    except Exception as error:  # as above
        raise _damaged(error) from error


def _damaged(error: Exception) -> InvalidModel:
    return broken(f"skops cannot read it: {type(error).__name__}: {' '.join(str(error).split())[:200]}")


def _check_archive(path: Path) -> None:
    """That unpacking ends: sizes as the archive declares them, which zipfile holds it to."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise broken(f"it is no zip archive: {error}") from error
    if len(members) > _MOST_MEMBERS or total > _MOST_BYTES:
        raise broken(f"it would unpack to {total} bytes in {len(members)} members")
    if not any(member.filename == "schema.json" for member in members):
        raise broken("it holds no schema.json")
