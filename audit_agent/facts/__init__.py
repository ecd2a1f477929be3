"""Typed facts about one host, read lazily and purely from its evidence.

Every fact carries the `Quote` of the lines it was read from. Asking for a fact whose evidence is
missing raises `EvidenceMissing`, which makes the check that asked UNKNOWN.
"""

import datetime as dt
from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

from audit_agent.facts.accounts import Account, Password, read_accounts, read_passwords
from audit_agent.facts.auditd import Auditd, read_auditd
from audit_agent.facts.certificates import CertificateFile, read_certificate_files
from audit_agent.facts.clock import Clock, read_clock
from audit_agent.facts.confinement import Confinement, read_confinement
from audit_agent.facts.exposure import PacketFilter
from audit_agent.facts.firewall import Loaded, read_loaded
from audit_agent.facts.groups import Group, read_groups
from audit_agent.facts.host_age import HostAge, read_host_age
from audit_agent.facts.journald import Journald, JournalSpan, read_journal_span, read_journald
from audit_agent.facts.kernel import Kernel, read_kernel
from audit_agent.facts.log_records import Ends, read_ends
from audit_agent.facts.log_removers import Remover, read_log_removers
from audit_agent.facts.log_services import LogServices, read_log_services
from audit_agent.facts.logfiles import Listing, read_listing
from audit_agent.facts.logrotate import Logrotate, read_logrotate
from audit_agent.facts.logs import Log, read_logs
from audit_agent.facts.network import Network, read_network
from audit_agent.facts.packages import Package, read_packages
from audit_agent.facts.private_keys import KeyFile, read_key_files
from audit_agent.facts.rsyslog import Target, read_targets
from audit_agent.facts.security_updates import read_security_updates
from audit_agent.facts.sockets import Listener, read_listeners, user_names
from audit_agent.facts.sshd import Server, Sshd, read_servers, read_sshd
from audit_agent.facts.support import Support, read_support
from audit_agent.facts.system import System, read_system
from audit_agent.facts.tls_reloads import Reloads, read_reloads
from audit_agent.facts.units import Units, read_units
from audit_agent.facts.updates import SecurityUpdates
from audit_agent.facts.upgrades import LastUpgrade, read_last_upgrade
from audit_agent.facts.webconfig import TlsConfiguration, read_tls_configuration
from audit_agent.model import Evidence, EvidenceMissing

__all__ = ["Host"]

T = TypeVar("T")


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
    def units(self) -> Units:
        """Which services run and which start at boot."""
        return read_units(self.evidence)

    @cached_property
    def network(self) -> Network:
        """Addresses, interfaces and default routes."""
        return read_network(self.evidence)

    @cached_property
    def listeners(self) -> list[Listener]:
        """The listening sockets."""
        return read_listeners(self.evidence, user_names(_or(lambda: self.accounts, [])))

    @cached_property
    def loaded_rules(self) -> Loaded:
        """The packet filter's rules as the kernel holds them; what is missing is named there."""
        return read_loaded(self.evidence)

    @cached_property
    def packet_filter(self) -> PacketFilter:
        """Answers who can reach what."""
        return PacketFilter(self.loaded_rules, self.network)

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

    @cached_property
    def tls_configuration(self) -> TlsConfiguration:
        """The certificate and key files that nginx, Apache, HAProxy and Postfix are given."""
        return read_tls_configuration(self.evidence)

    @cached_property
    def certificate_files(self) -> list[CertificateFile]:
        """The certificates in those files."""
        return read_certificate_files(self.evidence, self.tls_configuration.references)

    @cached_property
    def tls_reloads(self) -> Reloads:
        """Whether the servers have read these files since they were written."""
        return read_reloads(self.evidence)

    @cached_property
    def key_files(self) -> list[KeyFile]:
        """The private keys in those files, by mode and owner."""
        return read_key_files(
            self.evidence, self.tls_configuration.references, self.certificate_files
        )

    @cached_property
    def groups(self) -> dict[int, Group]:
        """The groups with the accounts in them, by number."""
        return read_groups(self.evidence)

    @cached_property
    def host_age(self) -> HostAge:
        """How long the host has been in service."""
        return read_host_age(self.evidence)

    @cached_property
    def log_listing(self) -> Listing:
        """What lies in /var/log and its like."""
        return read_listing(self.evidence)

    @cached_property
    def log_services(self) -> LogServices:
        """The services that write logs, and the job that rotates them."""
        return read_log_services(self.evidence, self.log_listing)

    @cached_property
    def log_removers(self) -> list[Remover]:
        """Jobs beside logrotate's that may delete logs."""
        return read_log_removers(self.evidence)

    @cached_property
    def logrotate(self) -> Logrotate | None:
        """The rules by which logs are rotated and deleted."""
        return read_logrotate(self.evidence, self.log_listing)

    @cached_property
    def journald(self) -> Journald:
        """Where systemd-journald stores, and what makes it delete."""
        return read_journald(self.evidence, self.log_listing)

    @cached_property
    def journal_span(self) -> JournalSpan:
        """The first and the last entry of the system journal."""
        return read_journal_span(self.evidence)

    @cached_property
    def auditd(self) -> Auditd | None:
        """Where auditd writes, and when it deletes."""
        return read_auditd(self.evidence)

    @cached_property
    def rsyslog_targets(self) -> list[Target]:
        """The files that rsyslog writes to."""
        return read_targets(self.evidence)

    @cached_property
    def log_ends(self) -> dict[str, Ends]:
        """What was read of the first and last lines of log files."""
        return read_ends(self.evidence)

    @cached_property
    def logs(self) -> list[Log]:
        """The logs of the classes that are asked for; without records where none were read."""
        return read_logs(
            self.evidence,
            self.log_listing,
            _or(lambda: self.log_ends, {}),
            _or(lambda: self.logrotate, None),
            _or(lambda: self.auditd, None),
        )


def _or(read: Callable[[], T], default: T) -> T:
    """A fact that only adds to another one: without its evidence, the default."""
    try:
        return read()
    except EvidenceMissing:
        return default
