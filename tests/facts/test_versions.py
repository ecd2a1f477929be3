"""The order of versions, against dpkg and rpm themselves."""

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_agent.facts.versions import debian_key, rpm_evr, rpm_key

# Short pieces that meet every rule, so that equal and nearly equal versions come up often.
UPSTREAM = st.lists(
    st.sampled_from(["0", "1", "01", "9", "10", "a", "Z", "rc", "~", "~~", "+", ".", "-", "deb"]),
    min_size=1,
    max_size=6,
).map(lambda parts: "0" + "".join(parts).rstrip("-"))
PAIRS = [
    ("1.0~rc1", "1.0"),
    ("1.0", "1.0+deb12u1"),
    ("2.36-9+deb12u9", "2.36-9+deb12u10"),
    ("1:1.0", "2.0"),
    ("1.0-1", "1.0"),
    ("1.0-0", "1.0"),
    ("1.0a", "1.0+"),
    ("20250419~deb12u2", "20230311+deb12u1"),
    ("1.0-1~bpo12+1", "1.0-1"),
    ("1.002", "1.2"),
]


def sign(left, right):
    return (left > right) - (left < right)


def dpkg_order(left, right):
    for operator, answer in (("lt", -1), ("eq", 0), ("gt", 1)):
        done = subprocess.run(
            ["dpkg", "--compare-versions", left, operator, right], check=False, capture_output=True
        )
        if done.returncode == 0:
            return answer
    raise AssertionError(f"dpkg does not compare {left} and {right}")


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs dpkg")
@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_dpkg_agrees_on_known_pairs(left, right):
    assert sign(debian_key(left), debian_key(right)) == dpkg_order(left, right)


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs dpkg")
@settings(max_examples=300, deadline=None)
@given(UPSTREAM, UPSTREAM)
def test_dpkg_agrees(left, right):
    assert sign(debian_key(left), debian_key(right)) == dpkg_order(left, right)


RPM = st.lists(
    st.sampled_from(["0", "1", "01", "9", "10", "a", "Z", "rc", "~", "^", "+", ".", "_", "el9"]),
    min_size=1,
    max_size=6,
).map("".join)


@pytest.mark.skipif(shutil.which("rpm") is None, reason="needs rpm (make test installs it)")
@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(RPM, RPM), min_size=40, max_size=40))
def test_rpm_agrees(pairs):
    calls = " ".join(f"print(rpm.vercmp('1-{a}', '1-{b}'), '')" for a, b in pairs)
    done = subprocess.run(
        ["rpm", "--eval", f"%{{lua: {calls} }}"], check=True, capture_output=True, text=True
    )
    assert [sign(rpm_key(f"1-{a}"), rpm_key(f"1-{b}")) for a, b in pairs] == [
        int(word) for word in done.stdout.split()
    ]


def test_epochs():
    assert rpm_key(rpm_evr("(none)", "9", "1")) < rpm_key(rpm_evr("1", "1", "1"))
    assert rpm_key(rpm_evr("0", "9", "1")) == rpm_key(rpm_evr("(none)", "9", "1"))
    assert debian_key("1" * 9000) > debian_key("1" * 8999)
