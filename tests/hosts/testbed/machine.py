"""A test host: a root file system copied in memory, in namespaces of its own, with a real sshd."""

import base64
import os
import subprocess
from pathlib import Path

from testbed.network import Namespace, Network
from testbed.processes import check, start, wait_until

PASSWORDS = {"auditpw": "correct horse", "plain": "battery staple", "answers": "tr0ub4dor"}
"""The made-up passwords of the users who have one."""

USERS = {
    "root": "/bin/bash",
    "audit": "/bin/bash",  # sudo without a password
    "auditpw": "/bin/bash",  # sudo with a password
    "plain": "/bin/bash",  # no sudo
    "terminal": "/bin/bash",  # sudo only on a terminal
    "answers": "/bin/bash",  # logs in by answering a question, and not otherwise
    "both": "/bin/bash",  # needs a key and then a password
    "noisy": "/bin/bash",  # its login scripts write to both streams
    "slow": "/bin/bash",  # its login scripts hang
    "forced": "/bin/bash",  # sshd runs another command than the one asked for
    "nologin": "/usr/sbin/nologin",
    "perl": "/usr/bin/perl",  # a login shell that is no shell
}
PASSWORDS["both"] = "two steps"

_START = """
set -e
read -r pid _ </proc/self/stat # still the outer /proc: the number that we have outside
mount -t tmpfs tmpfs "$1"
cd "$1"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=$2,upperdir=upper,workdir=work" root
cd root
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount --bind /dev dev
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
chmod 1777 tmp
mkdir run/sshd run/lock
echo "$pid"
exec chroot . sleep infinity >/dev/null
"""

_USERS = r"""
set -e
{
    id=3000
    for each in $1; do
        name=${each%%:*} shell=${each#*:} id=$((id + 1))
        [ "$name" = root ] || echo "$name:x:$id:$id::/home/$name:$shell"
    done
} >/tmp/passwd
cat /tmp/passwd >>/etc/passwd
sed -i 's,^root:[^:]*:\(.*\):[^:]*$,root:x:\1:/bin/bash,' /etc/passwd
while IFS=: read -r name _ id _ _ home _; do
    echo "$name:x:$id:" >>/etc/group
    echo "$name:*:19000:0:99999:7:::" >>/etc/shadow
    mkdir -p "$home/.ssh"
done </tmp/passwd
while IFS=: read -r name _ _ _ _ home _; do
    cp /tmp/authorized_keys "$home/.ssh/authorized_keys"
    chown -R "$name:" "$home"
done </tmp/passwd
rm -rf /root/.ssh # of a copied machine
mkdir -m 700 /root/.ssh
cp /tmp/authorized_keys /root/.ssh/authorized_keys
echo 'command="cat /etc/hostname" '"$(cat /tmp/authorized_keys)" >/home/forced/.ssh/authorized_keys
printf 'echo noise; printf "\\377\\000 no end of line"; echo noise >&2\n' >/home/noisy/.bashrc
printf 'sleep 60\n' >/home/slow/.bashrc
chpasswd -e </tmp/passwords
rm /tmp/passwords /tmp/passwd
rm -f /etc/ssh/ssh_host_*
for kind in ed25519 ecdsa; do
    ssh-keygen -q -t "$kind" -N '' -f "/etc/ssh/ssh_host_${kind}_key"
done
echo "127.0.0.1 localhost $(hostname)" >/etc/hosts
"""

_SUDOERS = """
Defaults env_reset,!lecture
Defaults:terminal requiretty
root ALL=(ALL:ALL) ALL
audit ALL=(ALL:ALL) NOPASSWD: ALL
terminal ALL=(ALL:ALL) NOPASSWD: ALL
auditpw ALL=(ALL:ALL) ALL
"""

_PAM = """
auth required pam_unix.so nodelay
account required pam_unix.so
password required pam_unix.so
session required pam_permit.so
"""

_SSHD_CONFIG = """
HostKey /etc/ssh/ssh_host_ed25519_key
HostKey /etc/ssh/ssh_host_ecdsa_key
AuthorizedKeysFile .ssh/authorized_keys
TrustedUserCAKeys /etc/ssh/user_ca.pub
PermitRootLogin prohibit-password
PasswordAuthentication yes
UsePAM yes
UseDNS no
PidFile /run/sshd.pid
MaxAuthTries 4
MaxStartups 100
@EXTRA@
Match User answers
    AuthenticationMethods keyboard-interactive
    @INTERACTIVE@ yes
Match User both
    AuthenticationMethods publickey,password
"""


class Machine:
    """A running host. `root` is its root directory as this machine sees it."""

    def __init__(
        self,
        network: Network,
        directory: Path,
        *,
        lower: Path = Path("/"),
        behind: "Machine | None" = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._log = directory.with_suffix(".log")
        spaces = ["--net", "--mount", "--uts", "--ipc", "--pid"]
        self._unshare = start(
            ["unshare", *spaces, "--fork", "--kill-child=KILL", "--propagation", "private",
             "sh", "-c", _START, "sh", str(directory), str(lower)],
            stdout=subprocess.PIPE,
        )  # fmt: skip
        pid = self._unshare.stdout.readline()
        assert pid, "the host's root could not be mounted; its messages are above"
        self._init = int(pid)
        self._sshd: subprocess.Popen[bytes] | None = None
        self.root = Path(f"/proc/{self._init}/root")
        self.namespace: Namespace = (
            network.attach_behind(behind.namespace, self._init)
            if behind
            else network.attach(self._init)
        )
        self.address = self.namespace.address
        self.name = f"host{self.address.rpartition('.')[2]}"

    def command(self, *words: str, user: str = "root") -> list[str]:
        """The words of a program's command line, run on the host."""
        become = [] if user == "root" else ["runuser", "-u", user, "--"]
        place = ["nsenter", "-t", str(self._init), "-n", "-m", "-u", "-i", "-p", "-r", "-w"]
        return [*place, "--", *become, *words]

    def run(self, *words: str, user: str = "root", **options: object) -> str:
        """Run a program on the host that must succeed; its standard output."""
        return check(self.command(*words, user=user), **options)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the host's."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def prepare(self, authorized: str, authority: str) -> None:
        """Make the users of USERS, whose logins the key `authorized` opens, and host keys."""
        self.run("hostname", self.name)
        self.write("/etc/hostname", f"{self.name}\n")
        self.write("/tmp/authorized_keys", authorized)
        self.write("/tmp/passwords", "".join(
            f"{user}:{_hash(password)}\n" for user, password in PASSWORDS.items()
        ))  # fmt: skip
        self.write("/etc/ssh/user_ca.pub", authority)
        self.write("/etc/sudoers", _SUDOERS, 0o440)
        for service in ("sshd", "sudo", "sudo-i"):
            self.write(f"/etc/pam.d/{service}", _PAM)
        users = " ".join(f"{name}:{shell}" for name, shell in USERS.items())
        self.run("sh", "-c", _USERS, "sh", users)

    def serve(self, extra: str = "", port: int = 22) -> None:
        """Start sshd, or start it anew with other lines in its configuration."""
        self.stop()
        version = subprocess.run(
            self.command("/usr/sbin/sshd", "-V"), capture_output=True, text=True, check=False
        ).stderr
        # Renamed in OpenSSH 8.7.
        old = "OpenSSH_8.4" in version
        keyword = "ChallengeResponseAuthentication" if old else "KbdInteractiveAuthentication"
        config = f"Port {port}\n" + _SSHD_CONFIG.replace("@EXTRA@", extra)
        config = config.replace("@INTERACTIVE@ yes", "" if old else f"{keyword} yes")
        config = f"{keyword} {'yes' if old else 'no'}\n" + config
        self.write("/etc/ssh/sshd_config", config)
        with self._log.open("ab") as log:
            self._sshd = start(self.command("/usr/sbin/sshd", "-D", "-e"), stdout=log, stderr=log)
        wait_until(lambda: self._answers(port), "sshd")

    def stop(self) -> None:
        """Stop sshd; the sessions that it has begun go on."""
        if self._sshd is not None:
            self.run("sh", "-c", "kill $(cat /run/sshd.pid)")
            self._sshd.wait()
            self._sshd = None

    def _answers(self, port: int) -> bool:
        assert self._sshd is None or self._sshd.poll() is None, self._log.read_text()
        listening = self.namespace.run("ss", "-Hltn", f"sport = :{port}")
        return bool(listening.strip())

    def log(self) -> str:
        """What sshd has said so far."""
        return self._log.read_text(errors="replace")

    def known_hosts(self, name: str = "") -> str:
        """Lines for a known_hosts file that name the host's keys."""
        keys = sorted((self.root / "etc/ssh").glob("ssh_host_*_key.pub"))
        lines = (" ".join(key.read_text().split()[:2]) for key in keys)
        return "".join(f"{name or self.address} {line}\n" for line in lines)

    def close(self) -> None:
        """Take the host down; doing it again does no harm."""
        if self._unshare.poll() is None:
            self._unshare.kill()
            self._unshare.communicate()


def _hash(password: str) -> str:
    """As crypt(5) has it, for /etc/shadow."""
    salt = base64.b64encode(os.urandom(9), altchars=b"./").decode()
    return check(["openssl", "passwd", "-6", "-salt", salt, password]).strip()
