"""Typed facts about one host, read lazily and purely from its evidence.

Every fact carries the `Quote` of the lines it was read from. Asking for a fact whose evidence is
missing raises `EvidenceMissing`, which makes the check that asked UNKNOWN.
"""

import datetime as dt
from functools import cached_property

from audit_agent.facts.accounts import Account, Password, read_accounts, read_passwords
from audit_agent.facts.clock import Clock, read_clock
from audit_agent.facts.confinement import Confinement, read_confinement
from audit_agent.facts.kernel import Kernel, read_kernel
from audit_agent.facts.packages import Package, read_packages
from audit_agent.facts.security_updates import SecurityUpdates, read_security_updates
from audit_agent.facts.sshd import Server, Sshd, read_servers, read_sshd
from audit_agent.facts.support import Support, read_support
from audit_agent.facts.system import System, read_system
from audit_agent.facts.upgrades import LastUpgrade, read_last_upgrade
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

    @cached_property
    def confinement(self) -> Confinement:
        """Whether this is a container."""
        return read_confinement(self.evidence)

    @cached_property
    def support(self) -> Support:
        """How long the distribution's release gets security updates."""
        return read_support(self.evidence, self.system)

    @cached_property
    def packages(self) -> list[Package]:
        """The installed packages."""
        return read_packages(self.evidence, self.system.family)

    @cached_property
    def last_upgrade(self) -> LastUpgrade:
        """When packages were last upgraded."""
        return read_last_upgrade(self.evidence, self.packages)

    @cached_property
    def security_updates(self) -> SecurityUpdates:
        """The security updates that the host's own lists offer."""
        return read_security_updates(self.evidence, self.system, self.packages)

    @cached_property
    def kernel(self) -> Kernel:
        """The running kernel among the installed ones."""
        return read_kernel(self.evidence, self.packages)

    @cached_property
    def sshd(self) -> Sshd:
        """The SSH servers that are installed and that run."""
        return read_sshd(self.evidence)

    @cached_property
    def ssh_servers(self) -> list[Server]:
        """The settings of each OpenSSH server."""
        return read_servers(self.evidence, self.sshd, self.system.family)

    @cached_property
    def clock(self) -> Clock:
        """What keeps the clock."""
        return read_clock(self.evidence)
