"""Whether the evidence comes from inside a container, where kernel and clock are the host's."""

from msgspec import Struct

from audit_agent.model import Evidence, Quote


class Confinement(Struct, frozen=True):
    """`container` names the sign that was seen, or is "" where there was none that counts.

    /.dockerenv alone does not: it also lies in virtual machines that were made from a container's
    image. There the kernel's own threads can be seen, which a container hides.
    """

    container: str
    quotes: tuple[Quote, ...]


_FILES = {"/.dockerenv", "/run/.containerenv"}


def read_confinement(evidence: Evidence) -> Confinement:
    """The signs of a container.

    Raises:
        EvidenceMissing: nobody looked.
    """
    section = evidence["host.confinement"]
    threads = evidence.sections.get("file:/proc/2/comm")
    kernel_seen = threads is not None and threads.text.strip() == "kthreadd"
    for number, line in enumerate(section.lines, 1):
        sign = line.strip()
        if not sign or sign.startswith("Cap") or (kernel_seen and sign in _FILES):
            continue
        return Confinement(sign, (Quote(section.name, number, number),))
    return Confinement("", (Quote(section.name),))
