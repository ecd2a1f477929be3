"""The order of package versions, as dpkg and rpm have it: keys that sort like `--compare`."""

import re

Key = tuple[object, ...]
"""Compares with other keys of the same package manager only."""

_DEBIAN_PART = re.compile(r"([^0-9]*)([0-9]*)")
_RPM_PART = re.compile(r"~|\^|[0-9]+|[a-zA-Z]+")


def _number(digits: str) -> tuple[int, str]:
    """Orders like the number, however long (int() refuses very long ones)."""
    digits = digits.lstrip("0")
    return len(digits), digits


def debian_key(version: str) -> Key:
    """deb-version(7): [epoch:]upstream[-revision]."""
    epoch, colon, rest = version.strip().partition(":")
    if not colon:
        epoch, rest = "", version.strip()
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return _number(epoch), _debian_part(upstream), _debian_part(revision)


def _debian_part(text: str) -> Key:
    """Runs of other characters and of digits by turns.

    A missing pair counts as an empty one ("0" equals ""), and only the first can be empty before
    the end, so two of them order every end.
    """
    end = ((0,), _number(""))
    parts = [
        ((*(_debian_order(c) for c in other), 0), _number(digits))
        for other, digits in _DEBIAN_PART.findall(text)
    ]
    while parts and parts[-1] == end:
        parts.pop()
    return (*parts, end, end)


def _debian_order(character: str) -> int:
    """Tilde before the end, letters before everything else."""
    if character == "~":
        return -1
    is_letter = character.isascii() and character.isalpha()
    return ord(character) if is_letter else ord(character) + 0x110000


def rpm_key(evr: str) -> Key:
    """rpm-version(7): [epoch:]version-release."""
    epoch, colon, rest = evr.partition(":")
    if not colon:
        epoch, rest = "", evr
    version, _, release = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return _number(epoch), _rpm_part(version), _rpm_part(release)


def _rpm_part(text: str) -> Key:
    """Segments: tilde < end < caret < letters < digits."""
    segments: list[tuple[object, ...]] = []
    for segment in _RPM_PART.findall(text):
        if segment == "~":
            segments.append((-1,))
        elif segment == "^":
            segments.append((1,))
        elif segment.isdigit():
            segments.append((3, *_number(segment)))
        else:
            segments.append((2, segment))
    return (*segments, (0,))


def rpm_evr(epoch: str, version: str, release: str) -> str:
    """The parts as one string; rpm prints a missing epoch as "(none)"."""
    prefix = f"{epoch}:" if epoch.isdigit() and int(epoch[:9]) else ""
    return f"{prefix}{version}-{release}"
