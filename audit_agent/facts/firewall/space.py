"""Every packet that could open a connection, as bits of one whole number.

For one listener and one interface, what a sender can vary is the source address, the source port,
a few TCP flags, and what else it puts into the packet (an extension header of IPv6). The rules cut
each of these into classes that no rule tells apart; one class of each is an atom, and a set of
atoms is an int with one bit per atom. So the algebra of sets is Python's `&`, `|` and `^`, whatever
the number of rules (atomic predicates: Yang and Lam, 2013).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from audit_agent.facts.firewall.ranges import Ranges, top, union

Doubt = tuple[int, int]
"""(certainly, possibly): the atoms for which a statement holds; the second holds the first."""

SYN = 0x02
FIRST_FLAGS = tuple(
    SYN | psh | urg | ece | cwr
    for psh in (0, 0x08)
    for urg in (0, 0x20)
    for ece in (0, 0x40)
    for cwr in (0, 0x80)
)
"""The TCP flags with which Linux opens a connection: SYN, and any of PSH, URG, ECE and CWR."""


class Space:
    """The atoms of one address family under one set of rules.

    The lowest bits are the address classes with the first choice of port, flags and extras, then
    the same classes with the next choice, and so on. `own` are the host's own addresses, () where
    they are not known; they must be among the sets the space is cut for.
    """

    def __init__(
        self,
        family: int,
        addresses: Iterable[Ranges],
        ports: Iterable[Ranges] = (),
        flags: Iterable[tuple[int, int]] = (),
        extras: Iterable[str] = (),
        own: Ranges = (),
    ) -> None:
        self.family = family
        self.own = own
        self._starts = _starts(addresses, top(family))
        self._ports = _starts(ports, 65535)
        some = sorted(set(extras))
        self._sent = [
            (choice, frozenset(added))
            for choice in _flag_classes(set(flags))
            for added in ([], *([extra] for extra in some), *([some] if len(some) == 2 else []))
        ]
        self._width = len(self._starts)
        self._choices = len(self._ports) * len(self._sent)
        self._repeat = _repeated(self._width, self._choices)
        self._memo: dict[Ranges, int] = {}
        self.full = (1 << (self._width * self._choices)) - 1
        self.yes: Doubt = (self.full, self.full)
        self.no: Doubt = (0, 0)
        self.maybe: Doubt = (0, self.full)

    def from_addresses(self, ranges: Ranges) -> int:
        """The atoms whose source address is in `ranges`.

        Raises:
            ValueError: the space was not cut for this set.
        """
        mask = self._memo.get(ranges)
        if mask is None:
            mask = self._memo[ranges] = _bits(self._starts, ranges) * self._repeat
        return mask

    def from_ports(self, ranges: Ranges) -> int:
        """The atoms whose source port is in `ranges`."""
        chosen = _bits(self._ports, ranges)
        return self._with(
            choice for choice in range(self._choices) if chosen >> (choice // len(self._sent)) & 1
        )

    def with_flags(self, mask: int, value: int) -> int:
        """The atoms of TCP packets for which flags & `mask` == `value`."""
        return self._with(
            choice
            for choice in range(self._choices)
            if self._sent[choice % len(self._sent)][0] & mask == value
        )

    def with_extra(self, extra: str) -> int:
        """The atoms whose sender has put this into the packet."""
        return self._with(
            choice
            for choice in range(self._choices)
            if extra in self._sent[choice % len(self._sent)][1]
        )

    def _with(self, choices: Iterable[int]) -> int:
        block = (1 << self._width) - 1
        mask = 0
        for choice in choices:
            mask |= block << (self._width * choice)
        return mask

    def some_choice(self, mask: int) -> int:
        """The address classes that are in `mask` with at least one choice of the rest."""
        block, found = (1 << self._width) - 1, 0
        for choice in range(self._choices):
            found |= mask >> (self._width * choice) & block
        return found

    def every_port(self, mask: int) -> int:
        """The address classes that are in `mask` for every source port, with some choice else."""
        found = (1 << self._width) - 1
        for port in range(len(self._ports)):
            some = 0
            for sent in range(len(self._sent)):
                some |= mask >> (self._width * (port * len(self._sent) + sent))
            found &= some
        return found

    def class_of(self, address: int) -> tuple[int, Ranges]:
        """The number of the class that an address is in, and its addresses."""
        number = bisect_right(self._starts, address) - 1
        return number, self.ranges(1 << number)

    def atom(self, number: int, mask: int) -> int:
        """One atom in `mask` of an address class, as plain a packet as can be; 0 if none is."""
        plain = (len(self._ports) - 1) * len(self._sent)
        for choice in (plain, *range(self._choices)):
            atom: int = 1 << (self._width * choice + number)
            if mask & atom:
                return atom
        return 0

    def every_choice(self, mask: int) -> int:
        """The address classes that are in `mask` whatever else is chosen."""
        found = (1 << self._width) - 1
        for choice in range(self._choices):
            found &= mask >> (self._width * choice)
        return found

    def ranges(self, classes: int) -> Ranges:
        """Address classes (of `some_choice` or `every_choice`) as addresses."""
        found: list[tuple[int, int]] = []
        while classes:
            low = (classes & -classes).bit_length() - 1
            run = ((classes >> low) ^ ((classes >> low) + 1)).bit_length() - 1
            end = low + run
            last = self._starts[end] - 1 if end < self._width else top(self.family)
            found.append((self._starts[low], last))
            classes = classes >> end << end
        return tuple(found)


def count_atoms(
    family: int,
    addresses: Iterable[Ranges],
    ports: Iterable[Ranges],
    flags: Iterable[tuple[int, int]],
    extras: Iterable[str],
) -> int:
    """How many atoms a space would have at most, before one is made of them."""
    sent = len(_flag_classes(set(flags))) * (len(set(extras)) + 2)
    return len(_starts(addresses, top(family))) * len(_starts(ports, 65535)) * sent


def _repeated(width: int, choices: int) -> int:
    """A bit at the start of each of so many blocks, doubled until they are enough."""
    mask, made = 1, 1
    while made < choices:
        take = min(made, choices - made)
        mask |= (mask & ((1 << (take * width)) - 1)) << (made * width)
        made += take
    return mask


def _starts(sets: Iterable[Ranges], highest: int) -> list[int]:
    """The first number of each class: two numbers of a class are in the same of `sets`."""
    cuts = {0}
    for ranges in sets:
        for first, last in ranges:
            cuts.add(first)
            cuts.add(last + 1)
    return sorted(cut for cut in cuts if cut <= highest)


def _bits(starts: list[int], ranges: Ranges) -> int:
    bits = 0
    for first, last in union(ranges):
        low, high = bisect_left(starts, first), bisect_right(starts, last)
        whole = starts[low : low + 1] == [first] and starts[high : high + 1] in ([last + 1], [])
        if not whole:
            raise ValueError(f"the space was not cut at {first} and {last + 1}")
        bits |= (1 << high) - (1 << low)
    return bits


def _flag_classes(tests: set[tuple[int, int]]) -> list[int]:
    """One set of flags for each way in which the tests can come out; plain SYN is the first."""
    classes: dict[tuple[bool, ...], int] = {}
    ordered = sorted(tests)
    for flags in FIRST_FLAGS:
        classes.setdefault(tuple(flags & mask == value for mask, value in ordered), flags)
    return list(classes.values())
