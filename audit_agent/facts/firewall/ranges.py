"""Sets of whole numbers (addresses, ports, marks) as sorted, disjoint, inclusive ranges."""

import ipaddress
from collections.abc import Iterable

Ranges = tuple[tuple[int, int], ...]

PORTS: Ranges = ((0, 65535),)
MARKS: Ranges = ((0, 0xFFFFFFFF),)


def top(family: int) -> int:
    """The highest address of family 4 or 6, as a number."""
    return (1 << (32 if family == 4 else 128)) - 1


def everything(family: int) -> Ranges:
    """All addresses of family 4 or 6."""
    return ((0, top(family)),)


def union(parts: Iterable[tuple[int, int]]) -> Ranges:
    """The ranges put in order, with those that touch or overlap made one."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(parts):
        if first > last:
            continue
        if merged and first <= merged[-1][1] + 1:
            if last > merged[-1][1]:
                merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return tuple(merged)


def complement(ranges: Ranges, highest: int) -> Ranges:
    """What 0 to `highest` holds beside `ranges`."""
    gaps: list[tuple[int, int]] = []
    start = 0
    for first, last in ranges:
        if first > start:
            gaps.append((start, first - 1))
        start = last + 1
    if start <= highest:
        gaps.append((start, highest))
    return tuple(gaps)


def intersection(one: Ranges, other: Ranges) -> Ranges:
    """What both hold."""
    found: list[tuple[int, int]] = []
    i = j = 0
    while i < len(one) and j < len(other):
        first, last = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if first <= last:
            found.append((first, last))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)


def difference(one: Ranges, other: Ranges) -> Ranges:
    """What `one` holds and `other` does not."""
    highest = one[-1][1] if one else 0
    return intersection(one, complement(other, highest))


def contains(ranges: Ranges, value: int) -> bool:
    """Whether `value` is in one of the ranges."""
    return any(first <= value <= last for first, last in ranges)


def size(ranges: Ranges) -> int:
    """How many numbers the ranges hold."""
    return sum(last - first + 1 for first, last in ranges)


def network(text: str) -> tuple[int, int, int]:
    """`ADDRESS`, `ADDRESS/LENGTH` or `ADDRESS/MASK`: the family, the first and the last address.

    Host bits are ignored, as the kernel ignores them.

    Raises:
        ValueError: it is none of these.
    """
    found = ipaddress.ip_network(text, strict=False)
    return found.version, int(found.network_address), int(found.broadcast_address)


def address_range(text: str) -> tuple[int, int, int]:
    """As `network`, and also `FIRST-LAST`.

    Raises:
        ValueError: it is none of these.
    """
    first, dash, last = text.partition("-")
    if not dash:
        return network(text)
    low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
    if low.version != high.version:
        raise ValueError(f"not a range: {text!r}")
    return low.version, int(low), int(high)


def written(family: int, ranges: Ranges) -> list[str]:
    """Address ranges as people write them: "10.0.0.0/8", or "FIRST-LAST" where no prefix fits."""
    make = ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address
    bits = 32 if family == 4 else 128
    words: list[str] = []
    for first, last in ranges:
        length = bits - (last - first + 1).bit_length() + 1
        whole = (last - first + 1).bit_count() == 1 and first % (last - first + 1) == 0
        if first == last:
            words.append(str(make(first)))
        elif whole:
            words.append(f"{make(first)}/{length}")
        else:
            words.append(f"{make(first)}-{make(last)}")
    return words
