"""What is made of repeated measurements. Pure."""

import math
from dataclasses import dataclass


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def median(values: list[float]) -> float:
    """The middle value; between the two middle ones when their number is even."""
    if not values:
        return math.nan
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread | None":
        """None without values."""
        return cls(median(values), min(values), max(values)) if values else None


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """Ours to theirs, pair by pair: the two of a pair were measured one right after the other."""
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} measurements against {len(theirs)}")
    return [our / their for our, their in zip(ours, theirs, strict=True) if their]


def share_within(spread: dict[str, int], limit_ms: float) -> float:
    """Which share of the calls was done below a limit, of sipp's counts by `<limit` and `>=limit`, in per cent."""
    counted = sum(spread.values())
    below = sum(count for key, count in spread.items() if key.startswith("<") and float(key[1:]) <= limit_ms)
    return 100 * below / counted if counted else math.nan


class Search:
    """The highest of some rates that is held, found by halving. A rate that is not held gets a second try.

    `rate` is the one to try next, None when it is found; `tell` says how it went.
    """

    def __init__(self, rates: list[int]) -> None:
        self.rates = rates
        self.held, self.lost = -1, len(rates)  # places: held is held, lost is not
        self.is_second = False

    @property
    def at(self) -> int:
        return (self.held + self.lost) // 2

    @property
    def rate(self) -> int | None:
        return self.rates[self.at] if self.lost - self.held > 1 else None

    def tell(self, is_held: bool) -> None:
        if is_held:
            self.held, self.is_second = self.at, False
        elif self.is_second:
            self.lost, self.is_second = self.at, False
        else:
            self.is_second = True

    @property
    def highest(self) -> int:
        """0 when not even the lowest is held."""
        return self.rates[self.held] if self.held >= 0 else 0
