"""Which system this is: distribution, family, kernel, container or not."""

import shlex

from msgspec import Struct

from audit_agent.model import Evidence, EvidenceMissing, Gap, Quote, Section

_FAMILIES = {
    "debian": {"debian", "ubuntu", "deepin", "raspbian", "linuxmint"},
    "rhel": {
        "rhel", "centos", "fedora", "rocky", "almalinux", "ol", "openeuler", "anolis", "alinux",
        "tencentos", "opencloudos", "kylin", "uos", "euleros", "hce", "bclinux", "culinux", "amzn",
    },
    "suse": {"sles", "sles_sap", "suse", "opensuse", "opensuse-leap"},
    "alpine": {"alpine"},
}  # fmt: skip


class System(Struct, frozen=True):
    """The distribution as os-release(5) tells it.

    `id` is lower-cased (openEuler writes a capital E). `family` decides which commands fit:
    "debian", "rhel", "suse", "alpine" or "" where it is not known.
    """

    id: str
    version_id: str
    version: str
    name: str
    pretty_name: str
    platform_id: str
    family: str
    quote: Quote


def read_system(evidence: Evidence) -> System:
    """Parse os-release(5).

    Raises:
        EvidenceMissing: neither /etc/os-release nor /usr/lib/os-release was readable.
    """
    section = evidence.file("/etc/os-release") or evidence.file("/usr/lib/os-release")
    if section is None:
        raise EvidenceMissing("file:/etc/os-release", Gap.ABSENT)
    fields = _shell_assignments(section)
    ident = fields.get("ID", "linux").lower()
    like = [ident, *fields.get("ID_LIKE", "").lower().split()]
    return System(
        id=ident,
        version_id=fields.get("VERSION_ID", ""),
        version=fields.get("VERSION", ""),
        name=fields.get("NAME", ident),
        pretty_name=fields.get("PRETTY_NAME", ident),
        platform_id=fields.get("PLATFORM_ID", ""),
        family=_family(like, evidence),
        quote=Quote(section.name),
    )


def _family(names: list[str], evidence: Evidence) -> str:
    """Desktop Kylin and UOS are Debian's children under the names of RHEL's: ask for dpkg first."""
    debian = evidence.sections.get("file:/etc/debian_version")
    if debian is not None and debian.gap is None:
        return "debian"
    for name in names:
        for family, members in _FAMILIES.items():
            if name in members:
                return family
    return ""


def _shell_assignments(section: Section) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in section.lines:
        key, equals, value = line.strip().partition("=")
        if not equals or key.startswith("#"):
            continue
        try:
            fields[key] = " ".join(shlex.split(value))
        except ValueError:
            fields[key] = value.strip("\"'")
    return fields
