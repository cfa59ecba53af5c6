"""Distributions that can be added up: percentiles of months without keeping every result.

Buckets grow by a fixed ratio, so a quantile is off by at most 1 % of itself, whatever was
measured. Merging is exact: the same values give the same histogram, in whatever order and
grouping they came. That is why the sum is kept as an integer; a float would round by order.
"""

import math
import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

ERROR = 0.01
"""Largest relative error of a quantile."""
SMALLEST = 1e-6
"""Values below it count as zero (a nanosecond, where the unit is milliseconds)."""
LARGEST = 1e15

_LOG_RATIO = math.log((1 + ERROR) / (1 - ERROR))
_LOWEST_BUCKET = math.ceil(math.log(SMALLEST) / _LOG_RATIO)
_HIGHEST_BUCKET = math.ceil(math.log(LARGEST) / _LOG_RATIO)
_UNITS = 1_000_000
_VERSION = 1
_EXTREMES = struct.Struct("<dd")
_LONGEST_VARINT = 18
"""Bytes; holds 126 bits, more than the sum of a billion of the largest values."""


@dataclass(slots=True)
class Histogram:
    """Counts of values from 0 to 1e15. `min` and `max` are exact, and None without values."""

    counts: Counter[int] = field(default_factory=Counter)
    """By bucket: bucket i holds what lies above ratio^(i-1) and up to ratio^i. None is empty."""
    zeros: int = 0
    n: int = 0
    millionths: int = 0
    """The sum of the values, each rounded to six decimals."""
    min: float | None = None
    max: float | None = None

    @classmethod
    def of(cls, values: Iterable[float]) -> "Histogram":
        """The histogram of these values. Raises ValueError as `add` does."""
        histogram = cls()
        histogram.add_many(values)
        return histogram

    @property
    def sum(self) -> float:
        return self.millionths / _UNITS

    def add(self, value: float) -> None:
        """Count one value. Raises ValueError if it is negative, above 1e15 or not a number."""
        self.add_many((value,))

    def add_many(self, values: Iterable[float]) -> None:
        """Count values. Raises ValueError as `add` does, and has then counted none of them."""
        values = list(values)
        if not values:
            return
        if not all(0 <= value <= LARGEST for value in values):
            raise ValueError("a histogram counts values from 0 to 1e15")
        log = math.log
        buckets = [math.ceil(log(value) / _LOG_RATIO) for value in values if value >= SMALLEST]
        self.counts.update(buckets)
        self.zeros += len(values) - len(buckets)
        self.n += len(values)
        self.millionths += sum([round(value * _UNITS) for value in values])
        self._widen(min(values), max(values))

    def merge(self, other: "Histogram") -> None:
        """Count everything that `other` counted, too."""
        if other.min is None or other.max is None:
            return
        self.counts.update(other.counts)
        self.zeros += other.zeros
        self.n += other.n
        self.millionths += other.millionths
        self._widen(other.min, other.max)

    def _widen(self, low: float, high: float) -> None:
        self.min = low if self.min is None else min(self.min, low)
        self.max = high if self.max is None else max(self.max, high)

    def quantile(self, q: float) -> float | None:
        """The value with a share `q` (0 to 1) of the others below it; None without values.

        Between two ranks it is interpolated, so it is within 1 % of the exact percentile.
        """
        if not 0 <= q <= 1:
            raise ValueError("a quantile's share lies between 0 and 1")
        if self.n == 0:
            return None
        indexes = sorted(self.counts)
        upto = list(accumulate((self.counts[index] for index in indexes), initial=self.zeros))
        rank = q * (self.n - 1)
        below, above = math.floor(rank), math.ceil(rank)
        low, high = self._ranked(below, indexes, upto), self._ranked(above, indexes, upto)
        return low + (rank - below) * (high - low)

    def _ranked(self, rank: int, indexes: list[int], upto: list[int]) -> float:
        """About the value that has `rank` others before it; the first and the last are exact."""
        assert self.min is not None
        assert self.max is not None
        if rank == 0 or rank == self.n - 1:
            return self.max if rank else self.min
        bucket = bisect_right(upto, rank) - 1
        # This point is 1 % above the bucket's lower edge and 1 % below its upper one.
        middle = (1 - ERROR) * math.exp(indexes[bucket] * _LOG_RATIO) if bucket >= 0 else 0.0
        return min(max(middle, self.min), self.max)

    def pack(self) -> bytes:
        """A few bytes a bucket. `unpack` gives an equal histogram."""
        out = bytearray([_VERSION])
        _put(out, self.zeros)
        _put(out, len(self.counts))
        if self.min is None or self.max is None:
            return bytes(out)
        indexes = sorted(self.counts)
        if indexes:
            _put(out, _unsigned(indexes[0]))
            _put(out, self.counts[indexes[0]])
        for before, index in pairwise(indexes):
            _put(out, index - before)
            _put(out, self.counts[index])
        _put(out, self.millionths)
        return bytes(out) + _EXTREMES.pack(self.min, self.max)

    @classmethod
    def unpack(cls, packed: bytes) -> "Histogram":
        """What `pack` packed. Raises ValueError for a newer version or broken bytes."""
        source = _Source(packed)
        version = source.byte()
        if version != _VERSION:
            raise ValueError(f"packed by a newer version: histogram format {version}, this reads {_VERSION}")
        zeros, buckets = source.varint(), source.varint()
        counts: Counter[int] = Counter()
        index = 0
        for number in range(buckets):
            step = source.varint()
            index = index + step if number else _signed(step)
            counts[index] += source.varint()
        histogram = cls(counts=counts, zeros=zeros, n=zeros + counts.total())
        if histogram.n:
            histogram.millionths = source.varint()
            histogram.min, histogram.max = source.extremes()
        if source.left() or not histogram._plausible(buckets):
            raise ValueError("a packed histogram is broken")
        return histogram

    def _plausible(self, buckets: int) -> bool:
        """No empty, repeated or impossible bucket, and extremes that values can have."""
        if len(self.counts) != buckets or not all(self.counts.values()):
            return False
        if self.counts and not _LOWEST_BUCKET <= min(self.counts) <= max(self.counts) <= _HIGHEST_BUCKET:
            return False
        return self.min is None or self.max is None or 0 <= self.min <= self.max <= LARGEST


class _Source:
    """Packed bytes, read from the front."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._next = 0

    def left(self) -> int:
        return len(self._packed) - self._next

    def byte(self) -> int:
        if not self.left():
            raise ValueError("a packed histogram is cut short")
        self._next += 1
        return self._packed[self._next - 1]

    def varint(self) -> int:
        """Seven bits a byte, low ones first; the top bit says that more follow."""
        number = 0
        for place in range(_LONGEST_VARINT):
            byte = self.byte()
            number |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return number
        raise ValueError("a packed histogram is broken")

    def extremes(self) -> tuple[float, float]:
        if self.left() < _EXTREMES.size:
            raise ValueError("a packed histogram is cut short")
        low, high = _EXTREMES.unpack_from(self._packed, self._next)
        self._next += _EXTREMES.size
        return low, high


def _put(out: bytearray, number: int) -> None:
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _unsigned(number: int) -> int:
    """Small numbers of either sign become small ones without: 0, -1, 1, -2 → 0, 1, 2, 3."""
    return 2 * number if number >= 0 else -2 * number - 1


def _signed(number: int) -> int:
    return number // 2 if number % 2 == 0 else -(number + 1) // 2
