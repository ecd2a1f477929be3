"""Security updates that the host's own package lists offer, and why they may not be all."""

from audit_agent.facts.apt_updates import read_apt_updates
from audit_agent.facts.packages import Package
from audit_agent.facts.rpm_updates import read_rpm_updates
from audit_agent.facts.system import System
from audit_agent.facts.updates import Doubt, SecurityUpdates
from audit_agent.model import Evidence


def read_security_updates(
    evidence: Evidence, system: System, packages: list[Package]
) -> SecurityUpdates:
    """Compare the installed packages with the lists that lie on the host.

    Raises:
        EvidenceMissing: the lists could not be read.
    """
    manager = packages[0].manager
    if manager == "dpkg":
        return read_apt_updates(evidence, system, packages)
    if manager == "rpm":
        return read_rpm_updates(evidence, system, packages)
    doubt = Doubt("no-advisories", "apk", (packages[0].quote,))
    return SecurityUpdates((), (), (doubt,))
