"""Evidence that a host has falsified: every check still answers, none blames itself.

The evidence is this machine's own, with the content of its sections changed at random; a seed
makes each run the same.
"""

import random
import re

import pytest
from msgspec.structs import replace

from audit_agent import collector, engine, evidence, plugins
from audit_agent.facts import Host
from audit_agent.facts.document import document
from audit_agent.model import Gap, Status
from audit_agent.transport import Limits
from audit_agent.transport.local import Local

NONCE = "5" * 32
ROUNDS = 60
BAD = [
    *(b"\0", b"\xff\xfe", b"\x1b[31m", "\u202e".encode(), "²".encode(), "١٢".encode(), b"\r\n"),
    *(b"9" * 25, b"1" * 5000, b"-1", b"1e999", b"0x10", b"nan", b"", b" ", b"\t", b"\n", b"-"),
    *(b"{", b"}", b"[", b'"', b"'", b"\\", b"%", b"{subject}", b"{0}", b"=", b":", b"#", b"/"),
    *(b"2026-02-30", b"99999-01-01", b"0.0.0.0/0", b"1.2.3.4/99", b"[::]:22", b"fe80::1%x"),
]
WORD = re.compile(rb"[A-Za-z0-9_./:-]+")


@pytest.fixture(scope="module")
def found():
    recording = Local(Limits()).run(collector.script(NONCE))
    stream = evidence.parse_stream(recording.stream, NONCE)
    return evidence.from_stream(stream, target="here", extra=recording.witnesses)


def falsified(data, dice):
    for _ in range(dice.choice([1, 2, 10])):
        words = list(WORD.finditer(data[:100_000]))
        place = dice.randrange(len(data) + 1)
        start, stop = dice.choice(words).span() if words else (0, 0)
        lines = data.split(b"\n")
        line = dice.randrange(len(lines))
        data = dice.choice(
            [
                data[:place],
                data[:place] + dice.choice(BAD) + data[place:],
                data[:start] + dice.choice(BAD) + data[stop:],
                b"\n".join([*lines[:line], *[lines[line]] * 20, *lines[line:]]),
                b"\n".join(lines[:line] + lines[line + 1 :]),
            ]
        )
    return data


@pytest.mark.parametrize("seed", range(4))
def test_no_check_fails_itself(found, seed):
    dice = random.Random(seed)  # noqa: S311 - the same dice every time
    checks = plugins.checks()
    for _ in range(ROUNDS):
        sections = dict(found.sections)
        for name in dice.sample(sorted(sections), dice.choice([1, 5, 60])):
            section = sections[name]
            gap = dice.choice(list(Gap)) if dice.random() < 0.1 else None
            data = b"" if gap else falsified(section.stdout, dice)
            sections[name] = replace(section, stdout=data, gap=gap)
        changed = replace(found, sections=sections)
        document(Host(changed))
        for finding in engine.audit(changed, checks):
            assert finding.status is not Status.ERROR, (finding.check, finding.observed)
            for quote in finding.quotes:
                if finding.status is Status.UNKNOWN:
                    continue  # it may well quote what is missing
                assert quote.section in sections, finding
                assert 0 <= quote.first <= quote.last, finding
                assert quote.last <= len(sections[quote.section].lines), finding
