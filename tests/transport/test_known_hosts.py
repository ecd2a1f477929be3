"""The known_hosts reader against `ssh-keygen -F`."""

import base64
import re
import shutil
import subprocess
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_agent.transport.known_hosts import KnownHosts, append, fingerprint, host_pattern

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")


def key(seed: int) -> bytes:
    """An ed25519 public key; any 32 bytes are one as far as these files go."""
    kind = b"ssh-ed25519"
    body = bytes([seed]) * 32
    return len(kind).to_bytes(4, "big") + kind + len(body).to_bytes(4, "big") + body


def line(names: str, seed: int, marker: str = "") -> str:
    return f"{marker} {names} ssh-ed25519 {base64.b64encode(key(seed)).decode()}".strip()


def by_ssh_keygen(path, host):
    """The line numbers, with their markers, that ssh-keygen finds for a host."""
    done = subprocess.run(
        ["ssh-keygen", "-F", host, "-f", str(path)], capture_output=True, text=True, check=False
    )
    found = re.findall(r"found: line (\d+) ?(\w*)", done.stdout)
    return {(int(number), {"CA": "@cert-authority", "REVOKED": "@revoked"}.get(word, ""))
            for number, word in found}  # fmt: skip


def by_us(path, host, port=22):
    found = KnownHosts.read([path]).find(host, port).entries
    return {(int(entry.source.rpartition(":")[2]), entry.marker) for entry in found}


LABELS = st.sampled_from(
    ["a", "b", "web1", "A", "db-2", "10", "::1", "*", "?", "w*", "*1", "[", "]"]
)
NAMES = st.lists(LABELS, min_size=1, max_size=3).map(".".join)
PORTED = st.tuples(NAMES, st.sampled_from([22, 2222, 8022])).map(lambda x: f"[{x[0]}]:{x[1]}")
PATTERNS = st.tuples(st.sampled_from(["", "", "", "!"]), NAMES | PORTED).map("".join)
LINES = st.tuples(
    st.sampled_from(["", "", "", "@revoked", "@cert-authority", "@other"]),
    st.lists(PATTERNS, min_size=1, max_size=3).map(",".join),
    st.integers(0, 3),
).map(lambda row: line(row[1], row[2], row[0]))
NOISE = st.sampled_from(["", "# web1 comment", "  ", "\t# x"])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    lines=st.lists(LINES | NOISE, max_size=8),
    host=st.lists(st.sampled_from(["a", "b", "web1", "10", "x"]), min_size=1, max_size=3),
    port=st.sampled_from([22, 2222]),
)
def test_it_finds_what_ssh_keygen_finds(tmp_path, lines, host, port):
    path = tmp_path / "known_hosts"
    path.write_text("\n".join(lines) + "\n")
    name = ".".join(host)
    assert by_us(path, name, port) == by_ssh_keygen(path, host_pattern(name, port))


def test_hashed_names(tmp_path):
    path = tmp_path / "known_hosts"
    path.write_text(f"{line('web1', 1)}\n{line('[web1]:2222', 2)}\n{line('Web2', 3)}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(path)], check=True, capture_output=True)
    assert "web1" not in path.read_text()
    known = KnownHosts.read([path])
    assert known.find("web1", 22).trusts(key(1))
    assert not known.find("web1", 22).trusts(key(2))
    assert known.find("WEB1", 2222).trusts(key(2))
    assert not known.find("web3", 22).entries


def test_a_revoked_key_is_not_trusted_even_where_it_is_recorded():
    known = KnownHosts()
    known.add(line("web1", 1), "f:1")
    known.add(line("*", 1, "@revoked"), "f:2")
    found = known.find("web1", 22)
    assert not found.trusts(key(1))
    assert found.revoked(key(1)).source == "f:2"


@pytest.mark.parametrize(
    "damaged",
    [
        "web1",
        "web1 ssh-ed25519",
        "web1 ssh-ed25519 AAAA",
        "web1 ssh-ed25519 not-base64!",
        f"web1 ssh-rsa {base64.b64encode(key(1)).decode()}",
        "web1 1024 35 1234567890",
        "@unknown " + line("web1", 1),
        "|1|AAAA|!!!! ssh-ed25519 " + base64.b64encode(key(1)).decode(),
        "|2|AAAA|AAAA ssh-ed25519 " + base64.b64encode(key(1)).decode(),
        "\udcff\x00 web1",
    ],
)
def test_a_damaged_line_is_skipped_and_spoils_no_other(tmp_path, damaged):
    path = tmp_path / "known_hosts"
    path.write_bytes(f"{damaged}\n{line('web1', 2)}\n".encode("utf-8", "surrogateescape"))
    found = KnownHosts.read([tmp_path / "missing", path]).find("web1", 22)
    assert [entry.blob for entry in found.entries] == [key(2)]


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("before", ["", "# no newline at the end"])
def test_an_appended_key_is_found_by_ssh_too(tmp_path, hashed, before):
    path = tmp_path / "new" / "known_hosts"
    if before:
        path.parent.mkdir()
        path.write_text(before)
    append(path, "Web1", 2222, "ssh-ed25519", key(1), hashed=hashed)
    append(path, "web2", 22, "ssh-ed25519", key(2), hashed=hashed)
    first = 2 if before else 1
    assert by_ssh_keygen(path, "[web1]:2222") == {(first, "")}
    assert by_ssh_keygen(path, "web2") == {(first + 1, "")}
    assert KnownHosts.read([path]).find("web1", 2222).trusts(key(1))
    assert ("web" in path.read_text()) is not hashed
    if not before:
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_fingerprints_are_those_of_ssh_keygen(keys):
    public = keys.user.with_suffix(".pub")
    told = subprocess.run(
        ["ssh-keygen", "-lf", str(public)], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    assert fingerprint(base64.b64decode(public.read_text().split()[1])) == told


def test_a_hundred_thousand_lines(tmp_path):
    path = tmp_path / "known_hosts"
    path.write_text("".join(f"{line(f'h{n}.example', n % 250)}\n" for n in range(100_000)))
    started = time.process_time()
    known = KnownHosts.read([path])
    loaded = time.process_time() - started
    for number in range(0, 100_000, 100):
        assert known.find(f"h{number}.example", 22).keys
    assert loaded < 5
    assert time.process_time() - started - loaded < 0.5
