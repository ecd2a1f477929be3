"""Accounts: passwd(5), and of shadow(5) the state of each password."""

import re

from msgspec import Struct

from audit_agent.model import Evidence, EvidenceMissing, Gap, Quote

_NO_LOGIN = ("/nologin", "/false", "/sync", "/shutdown", "/halt", "/true")


class Account(Struct, frozen=True):
    """One line of passwd(5). `uid` is None where the field is not a number.

    `password_field` is the second field: "x" defers to shadow(5), empty asks for no password. A
    hash that still stands there is cut by the collector.
    """

    name: str
    uid: int | None
    shell: str
    password_field: str
    quote: Quote

    @property
    def can_log_in(self) -> bool:
        """Whether the shell lets somebody in; an empty field means /bin/sh."""
        return not self.shell.endswith(_NO_LOGIN)


class Password(Struct, frozen=True):
    """The state of one password: "empty", "none", "locked+..." or "$" and the algorithm's id."""

    name: str
    state: str
    quote: Quote


def read_accounts(evidence: Evidence) -> list[Account]:
    """Every account of /etc/passwd, as lenient as the C library.

    It takes lines that break off after the group, blanks before the name and "+0" for a number.
    Names that begin with "+" or "-" are no accounts but refer to NIS (nsswitch.conf(5), compat).

    Raises:
        EvidenceMissing: /etc/passwd was not readable.
    """
    section = evidence["file:/etc/passwd"]
    accounts: list[Account] = []
    for number, line in enumerate(section.lines, 1):
        fields = line.lstrip().split(":")
        if len(fields) < 4 or fields[0][:1] in {"", "#", "+", "-"}:
            continue
        uid = int(fields[2]) if re.fullmatch(r"\s*[+-]?[0-9]{1,20}", fields[2]) else None
        shell = fields[6].strip() if len(fields) > 6 else ""
        quote = Quote(section.name, number, number)
        accounts.append(Account(fields[0], uid, shell, fields[1], quote))
    if not accounts:
        raise EvidenceMissing(section.name, Gap.FAILED)
    return accounts


def read_passwords(evidence: Evidence) -> list[Password]:
    """The state of every password.

    Raises:
        EvidenceMissing: /etc/shadow was not readable (it takes root), or holds nobody.
    """
    section = evidence["accounts.shadow"]
    passwords = [
        Password(fields[0], fields[1], Quote(section.name, number, number))
        for number, line in enumerate(section.lines, 1)
        if len(fields := line.split(":")) >= 2 and fields[0][:1] not in {"+", "-"}
    ]
    if not passwords:
        raise EvidenceMissing(section.name, Gap.FAILED)
    return passwords
