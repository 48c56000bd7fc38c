"""Two contenders measured in turn, so that a noisy machine is noisy for both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median

Measure = Callable[[], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Samples of both, taken in pairs."""

    own: list[float]
    pipe: list[float]

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios: below one, the pipe is cheaper."""
        return median(pipe / own for own, pipe in zip(self.own, self.pipe, strict=True) if own > 0)

    @property
    def difference(self) -> float:
        """The median of the pairs' differences: what the pipe adds."""
        return median(pipe - own for own, pipe in zip(self.own, self.pipe, strict=True))


async def compare(own: Measure, pipe: Measure, pairs: int) -> Comparison:
    """Warm both up, then measure them in turn, the first of a pair changing."""
    await own()
    await pipe()
    comparison = Comparison([], [])
    for number in range(pairs):
        if number % 2:
            comparison.pipe.append(await pipe())
            comparison.own.append(await own())
        else:
            comparison.own.append(await own())
            comparison.pipe.append(await pipe())
    return comparison
