"""Root file systems of Debian releases, built once and kept in a cache.

AUDIT_AGENT_TEST_CACHE names the cache (default: .cache/roots in the repository),
AUDIT_AGENT_TEST_MIRROR the mirror.
"""

import fcntl
import hashlib
import os
import subprocess
from pathlib import Path

SUITES = ("bullseye", "bookworm", "trixie")
_PACKAGES = (
    "ca-certificates",
    "iproute2",
    "iptables",
    "logrotate",
    "nftables",
    "openssh-server",
    "perl-base",
    "procps",
    "sudo",
)
_MIRROR = "http://deb.debian.org/debian"


def root_of(suite: str) -> Path:
    """The root of a release, built if the cache lacks it: take a minute or two then."""
    repository = Path(__file__).parents[3]
    cache = Path(os.environ.get("AUDIT_AGENT_TEST_CACHE", repository / ".cache/roots"))
    cache.mkdir(parents=True, exist_ok=True)
    recipe = hashlib.sha256(repr((suite, _PACKAGES)).encode()).hexdigest()[:12]
    root = cache / suite
    mark = cache / f"{suite}.{recipe}"
    with (cache / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists():
            subprocess.run(["rm", "-rf", "--one-file-system", str(root)], check=True)
            _build(suite, root, cache / f"{suite}.log")
            mark.touch()
    return root


def _build(suite: str, root: Path, log: Path) -> None:
    mirror = os.environ.get("AUDIT_AGENT_TEST_MIRROR", _MIRROR)
    with log.open("w") as out:

        def run(*words: str) -> None:
            # debootstrap leaves /proc mounted when it fails; here that ends with it.
            alone = ["unshare", "--mount", "--propagation", "private", "--", *words]
            done = subprocess.run(alone, stdout=out, stderr=out, check=False)
            assert done.returncode == 0, f"building {suite} failed, see {log}"

        run("debootstrap", "--variant=minbase", suite, str(root), mirror)
        # What is installed must not be started: that would be on this machine.
        policy = root / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        inside = ["chroot", str(root), "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"]
        run(*inside, "apt-get", "install", "-q", "-y", "--no-install-recommends", *_PACKAGES)
        run(*inside, "apt-get", "clean")
        policy.unlink()
