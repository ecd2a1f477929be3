"""Typed facts about one host, read lazily and purely from its evidence.

Every fact carries the `Quote` of the lines it was read from. Asking for a fact whose evidence is
missing raises `EvidenceMissing`, which makes the check that asked UNKNOWN.
"""

import datetime as dt
from functools import cached_property

from audit_agent.facts.accounts import Account, Password, read_accounts, read_passwords
from audit_agent.facts.system import System, read_system
from audit_agent.model import Evidence

__all__ = ["Host"]


class Host:
    """What is known about one host. Each property is parsed on first use and kept."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence

    @property
    def collected_at(self) -> dt.datetime:
        """The time of the audit; all ages are counted from here."""
        return self.evidence.collected_at

    @cached_property
    def system(self) -> System:
        """The distribution, its family and its kernel."""
        return read_system(self.evidence)

    @cached_property
    def accounts(self) -> list[Account]:
        """The accounts of /etc/passwd."""
        return read_accounts(self.evidence)

    @cached_property
    def passwords(self) -> list[Password]:
        """The state of every password in /etc/shadow; no hash is ever collected."""
        return read_passwords(self.evidence)
