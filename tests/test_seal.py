"""The seal of a report."""

import hashlib
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_agent import seal


@given(st.binary())
def test_what_was_sealed_verifies(body):
    sealed = seal.seal(body)
    assert (
        seal.verify(sealed) == hashlib.sha256(sealed[: sealed.rindex(b"\n", 0, -1) + 1]).hexdigest()
    )


@given(st.binary(min_size=1), st.data())
def test_any_changed_byte_breaks_it(body, data):
    sealed = bytearray(seal.seal(body))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(seal.SealBroken):
        seal.verify(bytes(sealed))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda sealed: sealed.replace(b"fail", b"pass"), "changed after it was sealed"),
        (lambda sealed: sealed + b"<p>more</p>\n", "added after the seal"),
        (lambda sealed: sealed + b"\n", "added after the seal"),
        (lambda sealed: sealed.replace(b"\n", b"\r\n"), "no seal|added after"),
        (lambda sealed: sealed[: sealed.index(b"<!--")], "no seal"),
        (lambda _: b"", "no seal"),
        (lambda sealed: sealed[:-10], "no seal"),
    ],
)
def test_it_says_what_is_wrong(change, why):
    with pytest.raises(seal.SealBroken, match=why):
        seal.verify(change(seal.seal(b"<p>fail</p>\n<p>x</p>\n")))


def test_a_forged_line_before_the_seal_changes_nothing():
    inner = seal.seal(b"one\n")
    assert seal.verify(seal.seal(inner)) == hashlib.sha256(inner).hexdigest()


def test_the_commands_that_the_report_prints_agree(tmp_path):
    if not shutil.which("sha256sum"):
        pytest.skip("needs sha256sum (coreutils)")
    path = tmp_path / "report.html"
    path.write_bytes(seal.seal("<p>主机</p>\n".encode() * 3))
    shown = subprocess.run(
        ["sh", "-c", f"sed '$d' {path} | sha256sum; tail -n 1 {path}"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    digest = seal.verify(path.read_bytes())
    assert shown.splitlines()[0].split()[0] == digest
    assert digest in shown.splitlines()[1]
