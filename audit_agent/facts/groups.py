"""Groups, group(5): who acts with which group's rights, from /etc/group and /etc/passwd."""

from msgspec import Struct

from audit_agent.model import Evidence, Quote


class Group(Struct, frozen=True):
    """One group. `accounts` are its members and the accounts whose primary group it is."""

    name: str
    gid: int
    accounts: tuple[str, ...]
    quote: Quote


def read_groups(evidence: Evidence) -> dict[int, Group]:
    """The groups by number; of a number that is given twice, the accounts of all.

    Raises:
        EvidenceMissing: /etc/group or /etc/passwd was not readable.
    """
    primary: dict[int, list[str]] = {}
    for line in evidence["file:/etc/passwd"].lines:
        fields = line.split(":")
        gid = _number(fields[3]) if len(fields) >= 7 else None
        if gid is not None:
            primary.setdefault(gid, []).append(fields[0])
    section = evidence["file:/etc/group"]
    groups: dict[int, Group] = {}
    for number, line in enumerate(section.lines, 1):
        fields = line.split(":")
        gid = _number(fields[2]) if len(fields) >= 4 else None
        if gid is None or line.startswith("#"):
            continue
        before = groups[gid].accounts if gid in groups else tuple(primary.get(gid, []))
        members = [name.strip() for name in fields[3].split(",") if name.strip()]
        accounts = tuple(dict.fromkeys([*before, *members]))
        groups[gid] = Group(fields[0], gid, accounts, Quote(section.name, number, number))
    return groups


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 else None
