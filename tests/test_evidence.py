"""The framed stream and the sealed file: nothing is lost, nothing is believed."""

import contextlib
import datetime as dt
import gzip
import hashlib
import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_agent import evidence
from audit_agent.model import Gap, Section

NONCE = "0123456789abcdef0123456789abcdef"
WHEN = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.timezone(dt.timedelta(hours=8)))


def frame(name, stdout, *, status=0, stderr=b"", limit=1000, command="cmd"):
    return (
        f"@{NONCE} begin {name}\n{command}\n".encode()
        + stdout
        + f"\n@{NONCE} end 12 {limit}\n".encode()
        + stderr
        + f"\n@{NONCE} status {status}\n@{NONCE} close\n".encode()
    )


def stream(*frames, done=True, packing="plain"):
    body = b"".join(frames) + (f"@{NONCE} done\n".encode() if done else b"")
    if packing == "gzip":
        body = gzip.compress(body, mtime=0)
    return f"AUDIT-AGENT-STREAM/1 {NONCE} 0.1.0 {packing}\n".encode() + body


@given(st.binary(max_size=400), st.binary(max_size=100), st.sampled_from(["plain", "gzip"]))
def test_any_bytes_survive(stdout, stderr, packing):
    parsed = evidence.parse_stream(
        stream(frame("a.b", stdout, stderr=stderr), frame("c", b"x"), packing=packing), NONCE
    )
    assert parsed.complete
    assert parsed.sections["a.b"].stdout == stdout
    assert parsed.sections["a.b"].stderr == stderr.strip(b"\n")
    assert parsed.sections["c"].stdout == b"x"
    assert parsed.sections["a.b"].duration == 0.12


@given(st.binary(max_size=2000), st.booleans())
def test_garbage_never_raises_anything_else(data, headed):
    if headed:
        data = stream(data, done=False)
    try:
        parsed = evidence.parse_stream(data)
        evidence.from_stream(parsed, target="x")
    except evidence.StreamError:
        pass


@given(st.integers(0, 400), st.sampled_from(["plain", "gzip"]))
def test_a_stream_cut_anywhere_keeps_what_came_before(cut, packing):
    whole = stream(frame("one", b"first"), frame("two", b"second" * 20), packing=packing)
    header = whole.index(b"\n") + 1
    parsed = evidence.parse_stream(whole[: min(header + cut, len(whole))], NONCE)
    assert parsed.complete == (header + cut >= len(whole)) or packing == "gzip"
    for name, content in (("one", b"first"), ("two", b"second" * 20)):
        section = parsed.sections.get(name)
        assert section is None or section.gap is Gap.LOST or section.stdout == content


def test_noise_before_the_header_and_foreign_frames_are_ignored():
    other = "f" * 32
    noise = b"Welcome!\nAUDIT-AGENT-STREAM/1 " + other.encode() + b" 9 plain\n"
    inside = b"@" + other.encode() + b" begin evil\nx\n"
    parsed = evidence.parse_stream(noise + stream(frame("a", inside)), NONCE)
    assert list(parsed.sections) == ["a"]
    assert parsed.sections["a"].stdout == inside


def test_a_first_frame_cannot_be_replaced_by_a_later_one():
    parsed = evidence.parse_stream(stream(frame("a", b"1"), frame("a", b"2")), NONCE)
    assert parsed.sections["a"].stdout == b"1"


@pytest.mark.parametrize(
    ("status", "stderr", "gap"),
    [
        (0, b"", None),
        (124, b"", Gap.TIMEOUT),
        (137, b"", Gap.TIMEOUT),
        (127, b"", Gap.NO_TOOL),
        (126, b"", Gap.DENIED),
        (4, b"iptables: Permission denied (you must be root)", Gap.DENIED),
        (1, b"bad", Gap.FAILED),
    ],
)
def test_exit_statuses_become_gaps(status, stderr, gap):
    parsed = evidence.parse_stream(stream(frame("a", b"x", status=status, stderr=stderr)), NONCE)
    assert parsed.sections["a"].gap is gap


def test_more_than_the_limit_is_cut_and_said():
    parsed = evidence.parse_stream(stream(frame("a", b"x" * 11, limit=10)), NONCE)
    assert parsed.sections["a"].gap is Gap.TRUNCATED
    assert parsed.sections["a"].stdout == b"x" * 10


def test_a_bomb_is_cut(monkeypatch):
    monkeypatch.setattr(evidence, "STREAM_LIMIT", 100_000)
    parsed = evidence.parse_stream(stream(frame("a", b"0" * 5_000_000), packing="gzip"), NONCE)
    assert not parsed.complete
    assert len(parsed.sections["a"].stdout) <= 100_000


def made(**sections):
    built = {name: Section(name=name, command="c", stdout=data) for name, data in sections.items()}
    parsed = evidence.Stream(NONCE, "0.1.0", complete=True, sections=built)
    return evidence.from_stream(parsed, target="h", collected_at=WHEN)


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.binary(max_size=200), max_size=5))
def test_the_file_gives_back_what_was_sealed(tmp_path_factory, contents):
    path = tmp_path_factory.mktemp("e") / "h.evidence.zip"
    found = made(**contents)
    digest = evidence.save(found, path)
    assert evidence.load(path) == found
    assert evidence.digest(found) == digest
    assert path.stat().st_mode & 0o777 == 0o600


def rewrite(path, change):
    """Repack the archive with members changed by `change(name, data)`; None drops one."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            changed = change(name, data)
            if changed is not None:
                archive.writestr(name, changed)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda n, d: d.replace(b"secret", b"SECRET") if "sections" in n else d, "section b.c"),
        (lambda n, d: d + b"more" if n.endswith("b.c") else d, "larger"),
        (lambda n, d: None if n.endswith("b.c") else d, "missing"),
        (lambda n, d: d.replace(b"web", b"bew") if n == "manifest.json" else d, "manifest.json"),
        (lambda n, d: b"{}" if n == "manifest.json" else d, "manifest.json"),
    ],
)
def test_an_edited_file_is_refused_with_its_section(tmp_path, change, word):
    path = tmp_path / "h.evidence.zip"
    evidence.save(made(**{"a": b"web", "b.c": b"a secret", "host.name": b"web1\n"}), path)
    rewrite(path, change)
    with pytest.raises(evidence.EvidenceDamaged, match=word):
        evidence.load(path)


def test_a_file_that_was_not_sealed_is_refused(tmp_path):
    path = tmp_path / "h.evidence.zip"
    evidence.save(made(a=b"1"), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("sections/9999-extra", b"x")
    with pytest.raises(evidence.EvidenceDamaged, match="not sealed"):
        evidence.load(path)


def reseal(path, change):
    """What somebody may do who carries the file: change the manifest and hash it again."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop("manifest.json"))
    change(manifest, members)
    raw = json.dumps(manifest).encode()
    members["manifest.sha256"] = hashlib.sha256(raw).hexdigest().encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", raw)
        for name, data in members.items():
            archive.writestr(name, data)


def bombs(manifest, _):
    for row in manifest["sections"]:
        row["size"] = 50 * 1024 * 1024


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (bombs, "more than a collection can hold"),
        (lambda manifest, _: manifest["sections"].append(manifest["sections"][0]), "twice"),
        (lambda manifest, _: manifest.update(clock="<b>"), "clock"),
        (lambda manifest, _: manifest.update(collected_at="2026-11-24T10:00:00"), "collected_at"),
    ],
)
def test_a_file_that_was_sealed_again_is_not_trusted(tmp_path, change, word):
    path = tmp_path / "h.evidence.zip"
    evidence.save(made(a=b"1", b=b"2", c=b"3"), path)
    reseal(path, change)
    with pytest.raises(evidence.EvidenceDamaged, match=word):
        evidence.load(path)


@pytest.mark.parametrize("clock", ["9999-12-31T23:59:59Z\n+1400", "0001-01-01T00:00:00Z\n-1400"])
def test_a_clock_beyond_the_calendar_is_no_clock(clock):
    parsed = evidence.parse_stream(stream(frame("host.clock", clock.encode())))
    with pytest.raises(evidence.StreamError, match="clock"):
        evidence.from_stream(parsed, target="x")


@given(st.integers(0, 2000), st.integers(1, 255))
def test_a_flipped_byte_never_passes_unseen(tmp_path_factory, position, mask):
    path = tmp_path_factory.mktemp("e") / "h.evidence.zip"
    found = made(a=b"first" * 9, b=b"second" * 9)
    evidence.save(found, path)
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= mask
    path.write_bytes(data)
    with contextlib.suppress(evidence.EvidenceDamaged):
        assert evidence.load(path) == found


def test_the_manifest_names_every_section_with_its_hash(tmp_path):
    path = tmp_path / "h.evidence.zip"
    evidence.save(made(**{"host.name": b"web1\n"}), path)
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["host"]["hostname"] == "web1"
    assert manifest["collected_at"] == "2026-11-24T12:00:00+08:00"
    (row,) = manifest["sections"]
    assert (
        row["sha256"] == "d61d5fc4ba3e3d84e77a0e4c9a2fe69a72afb5d36f19d3887e928422b53b3254"
    )  # echo web1 | sha256sum
