"""TreeModel: what a reader found in a file, before it becomes ONNX."""

from __future__ import annotations

from dataclasses import dataclass, field

from neoc.compile.frontends.trees.ensemble import Array, Ensemble


@dataclass(frozen=True, eq=False)
class Linear:
    """gblinear: x @ weights + bias, missing values left out."""

    weights: Array
    """float32 [F, T]"""
    bias: Array
    """float32 [T], the base margin included"""


@dataclass(frozen=True, eq=False)
class TreeModel:
    """An ensemble and what happens before and after it. docs/trees.md has the words."""

    framework: str
    """'xgboost', 'lightgbm', 'scikit-learn'"""
    version: str
    """of the library that wrote the file, as far as the file says"""
    core: Ensemble | Linear
    transform: str
    """a key of `transforms.TRANSFORMS`"""
    transform_options: dict[str, float] = field(default_factory=dict)
    input_dtype: str = "float64"
    """of `features`"""
    feature_names: tuple[str, ...] = ()
    feature_types: tuple[str, ...] = ()
    truncate: str = ""
    """how category columns become whole numbers: '', 'floor', 'toward-zero', or 'whole-or-missing'"""
    category_columns: tuple[int, ...] = ()
    zero_missing: str = ""
    """'' no; 'all' every node reads |x| <= 1e-35 as missing; 'some': those nodes read the columns behind the first F"""
    average: int = 1
    """divides the sum"""
    margin: bool = True
    """whether it has a margin: boosted models do"""
    classes: tuple[int | str | float | bool, ...] = ()
    """of a classifier whose labels are not 0, 1, 2 ..."""
    iterations: int | None = None
    """boosting rounds that were kept: what the library is to be asked for; None: all"""
    notes: tuple[str, ...] = ()

    @property
    def features(self) -> int:
        """Columns of the input F."""
        if isinstance(self.core, Linear):
            return len(self.core.weights)
        return self.core.features // 2 if self.zero_missing == "some" else self.core.features

    @property
    def targets(self) -> int:
        return self.core.weights.shape[1] if isinstance(self.core, Linear) else self.core.targets
