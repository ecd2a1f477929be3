"""The kernel that runs, the kernels that are installed, and whether a restart is due."""

import datetime as dt
import re
from collections.abc import Iterator

from msgspec import Struct

from audit_agent.facts.packages import Package, file_times
from audit_agent.facts.versions import debian_key, rpm_key
from audit_agent.model import Evidence, EvidenceMissing, Gap, Quote


class KernelPackage(Struct, frozen=True):
    """An installed kernel: `release` is what `uname -r` would say, `key` orders its version."""

    release: str
    version: str
    flavour: str
    installed_at: dt.datetime | None
    quote: Quote


class Kernel(Struct, frozen=True):
    """The running kernel among the installed ones of its flavour.

    `state` is "newest", "older" (a newer one waits for a restart, since `pending_since` if that is
    known), "unpackaged" (no package has it, though the host has kernels of its own) or "outside"
    (the host has no kernel at all: whoever runs the machine boots it with his own).
    """

    running: str
    state: str
    newest: str
    pending_since: dt.datetime | None
    livepatches: tuple[str, ...]
    restart_wanted: dt.datetime | None
    restart_packages: tuple[str, ...]
    quotes: tuple[Quote, ...]


def read_kernel(evidence: Evidence, packages: list[Package]) -> Kernel:
    """Compare the running kernel with the installed ones.

    Raises:
        EvidenceMissing: `uname` or the list of kernel files was not readable.
    """
    uname = evidence["host.kernel"]
    words = uname.lines[0].split() if uname.lines else []
    if len(words) < 3:
        raise EvidenceMissing(uname.name, Gap.FAILED)
    running, build = words[1], " ".join(words[2:-1])
    kernels, version = _installed(evidence, packages, running, build)
    state, newer, shown = _compare(evidence, kernels, running, version)
    times = file_times(evidence["patches.kernel-files"])
    wanted = times.get("/run/reboot-required")
    patches, patch_quotes = _livepatches(evidence)
    dates = [kernel.installed_at for kernel in newer if kernel.installed_at is not None]
    quotes = (
        Quote(uname.name, 1, 1),
        *(kernel.quote for kernel in shown),
        *patch_quotes,
        *((wanted[1],) if wanted else ()),
    )
    return Kernel(
        running=running,
        state=state,
        newest=f"{shown[-1].release} ({shown[-1].version})" if shown else "",
        pending_since=min(dates) if dates else None,
        livepatches=patches,
        restart_wanted=wanted[0] if wanted else None,
        restart_packages=_restart_packages(evidence),
        quotes=quotes,
    )


def _compare(
    evidence: Evidence, kernels: list[KernelPackage], running: str, version: str
) -> tuple[str, list[KernelPackage], list[KernelPackage]]:
    """The state, the kernels newer than the running one, and those worth showing (newest last)."""
    flavour = next((k.flavour for k in kernels if k.release == running), _flavour(running))
    same = [kernel for kernel in kernels if kernel.flavour == flavour]
    key = debian_key if kernels and kernels[0].quote.section == "packages.dpkg" else rpm_key
    same.sort(key=lambda kernel: key(kernel.version))
    mine = [kernel for kernel in same if kernel.release == running]
    if not mine and not version:
        if same and key(same[-1].release) > key(running):
            return "older", [k for k in same if key(k.release) > key(running)], same[-1:]
        return _without_package(evidence, running, any_kernel=bool(kernels)), [], same[-1:]
    have = version or mine[-1].version
    newer = [
        kernel
        for kernel in same
        if key(kernel.version) > key(have) and not _signed_anew(kernel, running, have)
    ]
    if newer:
        return "older", newer, [*mine[-1:], newer[-1]]
    if not mine:
        return "unpackaged", [], same[-1:]
    return "newest", [], mine[-1:]


def _signed_anew(kernel: KernelPackage, running: str, version: str) -> bool:
    """Ubuntu adds "+1" where it only signed the same kernel once more."""
    return kernel.release == running and re.sub(r"\+\d+$", "", kernel.version) == version


def _without_package(evidence: Evidence, running: str, *, any_kernel: bool) -> str:
    files = file_times(evidence["patches.kernel-files"])
    own = any_kernel or any(
        path.startswith("/boot/") or path == f"/lib/modules/{running}" for path in files
    )
    return "unpackaged" if own else "outside"


def _flavour(release: str) -> str:
    """What follows the version: "cloud-amd64" of "6.1.0-25-cloud-amd64"."""
    found = re.match(r"\d[^-]*(?:-\d[^-]*)*-([A-Za-z].*)$", release)
    return found[1] if found else ""


def _installed(
    evidence: Evidence, packages: list[Package], running: str, build: str
) -> tuple[list[KernelPackage], str]:
    """The kernel packages, and the running one's package version where the kernel itself tells."""
    manager = packages[0].manager
    if manager == "dpkg":
        return list(_dpkg(evidence, packages)), _debian_version(evidence, build)
    if manager == "rpm":
        return list(_rpm(packages, running)), ""
    return list(_apk(packages)), ""


def _dpkg(evidence: Evidence, packages: list[Package]) -> Iterator[KernelPackage]:
    times = file_times(evidence["patches.kernel-files"])
    for package in packages:
        found = re.match(r"linux-image-(?:unsigned-)?(\d.*?)$", package.name)
        if found and not package.name.endswith(("-dbg", "-dbgsym")):
            stamp = times.get(f"/var/lib/dpkg/info/{package.name}.list")
            yield KernelPackage(
                found[1],
                package.version,
                _flavour(found[1]),
                stamp[0] if stamp else None,
                package.quote,
            )


def _debian_version(evidence: Evidence, build: str) -> str:
    """Debian prints the package's version in `uname -v`, Ubuntu in /proc/version_signature."""
    if found := re.search(r"\bDebian (\d\S*)", build):
        return found[1]
    section = evidence.sections.get("file:/proc/version_signature")
    if section is not None and section.gap is None:
        found = re.match(r"Ubuntu (\d\S*?)-[a-z]\S* ", section.text)
        if found:
            return found[1]
    return ""


_RPM_KERNELS = re.compile(
    r"kernel(?:-core|-default|-rt|-rt-core|-lt|-ml|-uek|-uek-core|-64k-core|-azure|-debug-core)?$"
)


def _rpm(packages: list[Package], running: str) -> Iterator[KernelPackage]:
    """Where kernel and kernel-core are both there, both say the same; the name is the flavour."""
    for package in packages:
        if not _RPM_KERNELS.match(package.name):
            continue
        version, _, release = package.version.rpartition(":")[2].rpartition("-")
        flavour = package.name.removeprefix("kernel").removesuffix("-core").strip("-")
        uname = f"{version}-{release}.{package.architecture}"
        if running == f"{uname}+{flavour}":
            uname = running
        if flavour in {"default", "azure"}:  # SUSE leaves out the build count, adds the flavour
            uname = f"{version}-{release.rpartition('.')[0]}-{flavour}"
        yield KernelPackage(uname, package.version, flavour, package.installed_at, package.quote)


def _apk(packages: list[Package]) -> Iterator[KernelPackage]:
    for package in packages:
        found = re.match(r"linux-([a-z]+)$", package.name)
        parts = re.match(r"(\d[\d.]*)-r(\d+)$", package.version)
        if found and parts and found[1] in {"lts", "virt", "edge", "stable", "rpi"}:
            uname = f"{parts[1]}-{parts[2]}-{found[1]}"
            yield KernelPackage(uname, package.version, found[1], None, package.quote)


def _livepatches(evidence: Evidence) -> tuple[tuple[str, ...], tuple[Quote, ...]]:
    section = evidence.sections.get("patches.livepatch")
    names: list[str] = []
    quotes: list[Quote] = []
    for number, line in enumerate(section.lines if section is not None else [], 1):
        path, _, enabled = line.partition(" ")
        if section is not None and path and enabled.strip() == "1":
            names.append(path.rpartition("/")[2])
            quotes.append(Quote(section.name, number, number))
    return tuple(names), tuple(quotes)


def _restart_packages(evidence: Evidence) -> tuple[str, ...]:
    section = evidence.sections.get("file:/run/reboot-required.pkgs")
    if section is None or section.gap is not None:
        return ()
    return tuple(dict.fromkeys(line.strip() for line in section.lines if line.strip()))
