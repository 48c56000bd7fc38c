"""Contenders measured in turn, so that a noisy machine is noisy for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from statistics import median

Measure = Callable[[], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Samples of each contender, taken in rounds."""

    samples: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        """The middle sample of one contender."""
        return median(self.samples[name])

    def quantile(self, name: str, share: float) -> float:
        """The sample of one contender below which this share of them lies."""
        samples = sorted(self.samples[name])
        return samples[min(int(len(samples) * share), len(samples) - 1)]

    def ratio(self, name: str, to: str) -> float:
        """The median of the rounds' ratios: below one, `name` is cheaper."""
        pairs = zip(self.samples[name], self.samples[to], strict=True)
        return median(ours / theirs for ours, theirs in pairs if theirs > 0)

    def difference(self, name: str, to: str) -> float:
        """The median of the rounds' differences: what `name` adds."""
        pairs = zip(self.samples[name], self.samples[to], strict=True)
        return median(ours - theirs for ours, theirs in pairs)


async def compare(contenders: Mapping[str, Measure], rounds: int) -> Comparison:
    """Warm each up, then measure them in turn, another one first in each round."""
    for measure in contenders.values():
        await measure()
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        first = number % len(names)
        for name in [*names[first:], *names[:first]]:
            samples[name].append(await contenders[name]())
    return Comparison(samples)
