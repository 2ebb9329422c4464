"""The rules, in the order in which they are tried: the most valuable first. A new rule is a row here."""

from __future__ import annotations

from neoc.compile.errors import UsageError
from neoc.compile.rewrites.activations import GELU, GELU_TANH, HARD_SWISH, SILU
from neoc.compile.rewrites.attention import ATTENTION
from neoc.compile.rewrites.conv_1d import CONV_2D, WINOGRAD_1D
from neoc.compile.rewrites.conv_chain import CONV_CHAIN
from neoc.compile.rewrites.dead_channels import DEAD_CHANNELS
from neoc.compile.rewrites.deconv import DECONV_AS_CONV, DEPTH_SINKS
from neoc.compile.rewrites.folding import FOLD_BEFORE, FOLD_BEHIND, PRODUCT_CHAIN
from neoc.compile.rewrites.framing import FRAMING
from neoc.compile.rewrites.hoisted import HOISTED
from neoc.compile.rewrites.loops import RECURRENT_LOOP
from neoc.compile.rewrites.maxima import MAX_SINKS, PRELU_MAX
from neoc.compile.rewrites.mirrored import MIRRORED_FRAMES
from neoc.compile.rewrites.norms import LAYER_NORM, RMS_NORM
from neoc.compile.rewrites.padding import PAD_INTO_CONV
from neoc.compile.rewrites.phases import PHASE_EXPANSION
from neoc.compile.rewrites.powers import POWERS
from neoc.compile.rewrites.rerolled import REROLLED
from neoc.compile.rewrites.rule import Rule
from neoc.compile.rewrites.siblings import SIBLING_CONVS, SIBLING_PRODUCTS
from neoc.compile.rewrites.single_step import SINGLE_STEP
from neoc.compile.rewrites.slices import ONE_SLICE, SHARED_SLICE, SLICE_ABOVE_CONV, SLICE_OF_CONCAT, SLICE_RISES
from neoc.compile.rewrites.tokens import TOKEN_TABLE
from neoc.compile.rewrites.transposes import TRANSPOSE_SINKS
from neoc.compile.rewrites.upsampled import UPSAMPLED_CONV
from neoc.compile.rewrites.views import ONE_VIEW, VIEW_SINKS

RULES: tuple[Rule, ...] = (
    TOKEN_TABLE,
    PHASE_EXPANSION,
    MIRRORED_FRAMES,
    FRAMING,
    WINOGRAD_1D,
    CONV_2D,
    UPSAMPLED_CONV,
    DECONV_AS_CONV,
    CONV_CHAIN,
    PRELU_MAX,
    MAX_SINKS,
    REROLLED,
    RECURRENT_LOOP,
    SINGLE_STEP,
    HOISTED,
    ONE_VIEW,
    POWERS,
    SLICE_ABOVE_CONV,
    SLICE_OF_CONCAT,
    SLICE_RISES,
    ONE_SLICE,
    SHARED_SLICE,
    TRANSPOSE_SINKS,
    VIEW_SINKS,
    DEPTH_SINKS,
    GELU,
    GELU_TANH,
    SILU,
    HARD_SWISH,
    LAYER_NORM,
    RMS_NORM,
    ATTENTION,
    FOLD_BEHIND,
    FOLD_BEFORE,
    PRODUCT_CHAIN,
    PAD_INTO_CONV,
    DEAD_CHANNELS,
    SIBLING_CONVS,
    SIBLING_PRODUCTS,
)


def by_name(name: str) -> Rule:
    """Raises UsageError for a name that is in no row."""
    for rule in RULES:
        if rule.name == name:
            return rule
    raise UsageError(f"there is no rewrite named {name!r}", fix=f"one of: {', '.join(r.name for r in RULES)}")
