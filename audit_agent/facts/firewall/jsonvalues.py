"""Looks into decoded JSON of which nobody knows the shape; what is not there is empty."""

from typing import cast


def members(value: object) -> dict[str, object]:
    """The members of an object; of anything else, none."""
    return cast(dict[str, object], value) if isinstance(value, dict) else {}


def elements(value: object) -> list[object]:
    """The elements of an array; of anything else, none."""
    return cast(list[object], value) if isinstance(value, list) else []


def single(value: object) -> tuple[str, object]:
    """The only member of an object with one; ("", None) of anything else."""
    found = members(value)
    return next(iter(found.items())) if len(found) == 1 else ("", None)


def pair(value: object) -> tuple[object, object] | None:
    """The two elements of an array with two; None of anything else."""
    found = elements(value)
    return (found[0], found[1]) if len(found) == 2 else None
