"""What no text for users may claim: the tool observes a state, it certifies nothing."""

# ruff: noqa: E501 - sentences in two languages, side by side

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXTS = sorted(
    path
    for pattern in ("reports/templates/*", "reports/words.toml", "checks/*.toml", "README*.md")
    for path in ROOT.glob(pattern)
)
FORBIDDEN = {
    "an inspection that is passed": r"通过年检|年检合格|通过(现场)?核查|pass(es|ed)? the inspection|年检无忧",
    "certification": r"\bcertified (host|server|system|compliant|secure)|已?认证合格|获得认证",
    "a protection level that is met": r"(符合|满足|达到)(了)?(网络安全)?(等保|等级保护)\s*(2\.0\s*)?[二三四]级|等保合规",
    "a score": r"等保\s*\d+\s*分|得分|评分|总分|\b(compliance|security) score\b",
    "compliance by a handshake": r"国密合规|密评合规|SM2[- ]compliant",
    "old law": r"公安部令第?151号|CSL-(21|25|59)\b|网络安全法》?第(二十一|二十五|五十九)条",
    "six months in GB/T 22239": r"22239[^。.\n]{0,30}(要求|requires|demands)[^。.\n]{0,20}(六个月|6\s*个月|six months)",
    "NTP as a duty": r"等保[二三]级(要求|必须)[^。\n]{0,10}(NTP|时钟同步)",
    "more than a hash shows": r"tamper[- ]?proof|防篡改|不可篡改|\bforensic|司法鉴定|具有法律效力",
    "safety": r"(主机|系统|服务器)(是)?安全的[。，]|no findings means safe|\bis secure\b",
    "recognition": r"(经|获|由)(工信部|通信管理局|公安(部|机关)|测评机构)(推荐|认可|批准)|\b(approved|recommended) by (the )?(MIIT|MPS|authorities)",
}  # fmt: skip


def test_there_are_texts():
    assert {path.suffix for path in TEXTS} >= {".toml", ".html"}


@pytest.mark.parametrize("claim", FORBIDDEN)
def test_never_claimed(claim):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in TEXTS
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(FORBIDDEN[claim], line, re.IGNORECASE)
    ]
    assert not found


@pytest.mark.parametrize(
    ("claim", "sentence"),
    [
        ("an inspection that is passed", "本机可通过年检"),
        ("certification", "a certified host"),
        ("a protection level that is met", "该系统符合等保三级"),
        ("a score", "等保 90 分"),
        ("old law", "《中华人民共和国网络安全法》第二十一条"),
        ("six months in GB/T 22239", "GB/T 22239-2019 要求留存六个月"),
        ("more than a hash shows", "a tamper-proof report"),
        ("recognition", "经工信部推荐"),
    ],
)
def test_the_list_knows_the_claims(claim, sentence):
    assert re.search(FORBIDDEN[claim], sentence, re.IGNORECASE)
