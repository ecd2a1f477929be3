"""Test hosts: this machine's own root under an overlay in memory, for a test to spoil."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

OverlayRun = Callable[..., Path]

_ENTER = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --bind /dev "$1/root/dev"
mount -t tmpfs tmpfs "$1/root/run"
mkdir -p "$1/root/srv" "$1/root/mnt"
mount --bind "$2" "$1/root/mnt"
cd "$1/root"
chroot "$1/root" sh -e /mnt/setup.sh
if [ -e "$2/mark" ]; then
    cd "$1/upper"
    find . -cnewer "$2/mark" > "$2/written"
fi
"""


@pytest.fixture
def overlay(tmp_path: Path) -> OverlayRun:
    """Runs a shell script as root of a throw-away copy of this machine, in its own namespaces.

    The copy has its own mounts, processes and (loopback only) network, and /mnt is the folder that
    the call returns, where the script leaves what the test wants to see. Once the script made
    /mnt/mark, the file `written` there lists what was written, deleted or touched since.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts an overlay of this machine's root")

    def run(script: str, **files: bytes | Path) -> Path:
        out = tmp_path / "mnt"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        tmp_path.chmod(0o755)
        mounts = tmp_path / "overlay"
        mounts.mkdir(exist_ok=True)
        (out / "setup.sh").write_text(script)
        for name, data in files.items():
            if isinstance(data, Path):
                shutil.copytree(data, out / name)
            else:
                (out / name).write_bytes(data)
        words = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
        done = subprocess.run(
            [*words, "sh", "-c", _ENTER, "sh", str(mounts), str(out)],
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()[-2000:] + done.stdout.decode()[-2000:]
        return out

    return run
