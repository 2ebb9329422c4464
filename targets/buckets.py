"""A session over the buckets of an artifact: each call runs, padded, in the smallest variant that holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from neoc.compile.binding import Binding
from neoc.compile.contracts import FeedCheck, Feeds, Session, Signature
from neoc.compile.errors import FeedError
from neoc.compile.padding import Padding


class BucketSession(Session):
    """Takes every size from the smallest proven one to the largest bucket. Padding and cutting copy; an exact fit does
    not.

    `buckets`: ({dimension: size}, session of that variant), at least one. The sessions are closed with this one.
    """

    def __init__(
        self, buckets: Sequence[tuple[Mapping[str, int], Session]], signature: Signature, padding: Padding
    ) -> None:
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self.concurrency = min(session.concurrency for _, session in buckets)
        self._buckets = sorted(buckets, key=lambda bucket: prod(bucket[0].values()))
        self._signature, self._padding = signature, padding
        self.limits = dict(self._buckets[-1][0])
        self._check = FeedCheck(self.inputs)

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check.check(feeds)
        sizes = self._padding.sizes(self._signature, feeds)
        bind, session = self._bucket(sizes)
        if sizes == bind:
            return session.run(feeds, outputs)
        results = session.run(self._padding.pad(self._signature, feeds, bind), outputs)
        return self._padding.cut(results, sizes)

    def _bind(self, inputs: Feeds, outputs: Feeds) -> Binding:
        """Buffers of exactly a bucket's size are the engine's own; others are padded at every run."""
        sizes = self._padding.sizes(self._signature, inputs)
        bind, session = self._bucket(sizes)
        return session.bind(inputs, outputs) if sizes == bind else super()._bind(inputs, outputs)

    def _bucket(self, sizes: Mapping[str, int]) -> tuple[Mapping[str, int], Session]:
        """Raises FeedError for a request that no bucket holds."""
        for bind, session in self._buckets:
            if all(size <= bind[dim] for dim, size in sizes.items()):
                if short := [dim for dim, size in sizes.items() if size < self._padding.least[dim]]:
                    why = f"{short[0]} is {sizes[short[0]]}, and the smallest proven size is "
                    raise FeedError(
                        "the request is too short",
                        why=f"{why}{self._padding.least[short[0]]}: the model itself rejects shorter ones",
                        fix="feed more",
                    )
                return bind, session
        shown = ", ".join(f"{dim} {size}" for dim, size in sizes.items())
        most = ", ".join(f"{dim} {size}" for dim, size in self._buckets[-1][0].items())
        raise FeedError(
            "the request is larger than every bucket",
            why=f"it has {shown}; the largest bucket has {most}",
            fix="split it, or compile with a larger bucket: --bucket DIM=SIZES",
        )

    def close(self) -> None:
        for _, session in self._buckets:
            session.close()
