"""Whether the evidence comes from inside a container, where kernel and clock are the host's."""

import re

from msgspec import Struct

from audit_agent.model import Evidence, Quote, Section

_CAP_NET_ADMIN = 12


class Confinement(Struct, frozen=True):
    """`container` names the sign that was seen, or is "" where there was none that counts.

    /.dockerenv alone does not: it also lies in virtual machines that were made from a container's
    image. There the kernel's own threads can be seen, which a container hides. `filters` is
    whether root may set packet filter rules (CAP_NET_ADMIN, capabilities(7)); None where the
    collector was not root, whose capabilities say nothing about the host's.
    """

    container: str
    quotes: tuple[Quote, ...]
    filters: bool | None = None


_FILES = {"/.dockerenv", "/run/.containerenv"}


def read_confinement(evidence: Evidence) -> Confinement:
    """The signs of a container.

    Raises:
        EvidenceMissing: nobody looked.
    """
    section = evidence["host.confinement"]
    threads = evidence.sections.get("file:/proc/2/comm")
    kernel_seen = threads is not None and threads.text.strip() == "kthreadd"
    filters = _capable(section) if evidence.privilege.root else None
    for number, line in enumerate(section.lines, 1):
        sign = line.strip()
        if not sign or sign.startswith("Cap") or (kernel_seen and sign in _FILES):
            continue
        return Confinement(sign, (Quote(section.name, number, number),), filters)
    return Confinement("", (Quote(section.name),), filters)


def _capable(section: Section) -> bool | None:
    found = re.search(r"^CapEff:\s*([0-9a-f]{1,16})$", section.text, re.MULTILINE)
    return bool(int(found[1], 16) >> _CAP_NET_ADMIN & 1) if found else None
