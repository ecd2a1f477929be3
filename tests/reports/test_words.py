"""The words of the HTML report: complete, in step, and each in its own language."""

import re
import string
import tomllib
from pathlib import Path

import pytest

from audit_agent.model import Gap, Severity, Status

REPORTS = Path(__file__).parents[2] / "reports"
WORDS = tomllib.loads((REPORTS / "words.toml").read_text())
CODE = "\n".join(
    path.read_text() for path in [REPORTS / "html.py", *sorted((REPORTS / "templates").iterdir())]
)
FAMILIES = {
    "status": set(Status),
    "severity": set(Severity),
    "meaning": set(Status),
    "verdict": set(Status) - {Status.NOT_APPLICABLE},
    "gap": {*Gap, "none"},
    "clock": {"controller", "host"},
    "open": {"unknown", "manual", "error"},
    "basis": {"LAW", "STD", "STD*", "GUIDE", "PRACTICE"},
    "kind": {"LAW", "STD", "GUIDE", "PRACTICE"},
    "grade": {"V1", "V2", "V3", "U"},
    "read.kind": {"LAW", "STD", "GUIDE", "PRACTICE"},
    "read.grade": {"V1", "V2", "V3", "U"},
}
LATIN = {
    "SHA-256", "root", "audit-agent", "uid", "sudo", "V1", "V2", "V3", "U", "A", "B", "html", "zip",
    "evidence", "SSH", "shell", "x",
}  # fmt: skip
HAN = re.compile(r"[\u2e80-\u9fff\uff00-\uffef\u3000-\u303f]")


def used() -> tuple[set[str], set[str]]:
    """The keys that the code names, and the prefixes that it completes."""
    named = set(re.findall(r"""(?:\bt|word)\(\s*['"]([\w.*-]+)['"]""", CODE))
    keys = {key for key in named if not key.endswith(".")}
    keys |= set(re.findall(r"""['"]((?:privilege|finding)\.[a-z_]+)['"]""", CODE))
    keys |= {f"fact.{name}" for name in re.findall(r"call fact\('(\w+)'\)", CODE)}
    prefixes = (named - keys) - {"fact."}
    prefixes |= {f"{name}." for name in re.findall(r"""named\(\s*['"]([\w.]+)['"]""", CODE)}
    return keys, prefixes


def test_every_word_is_there_and_used():
    keys, prefixes = used()
    assert keys - WORDS.keys() == set(), "used, but not in words.toml"
    idle = {key for key in WORDS if key not in keys and not key.startswith(tuple(prefixes))}
    assert idle == set(), "in words.toml, but not used"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_a_word_for_each_of_its_values(family):
    assert {f"{family}.{value}" for value in FAMILIES[family]} <= WORDS.keys()


@pytest.mark.parametrize("key", WORDS)
def test_both_languages_say_the_same_thing(key):
    word = WORDS[key]
    fields = [
        {name for _, name, _, _ in string.Formatter().parse(text)} - {None}
        for text in word.values()
    ]
    assert all(names == fields[0] for names in fields), "placeholders differ"
    assert all(
        word[lang] == word[lang].strip() and word[lang] for lang in ("en", "zh") if key != "sep"
    )
    assert not HAN.search(word["en"] + word.get("one", "")), "Chinese in English"
    latin = set(re.findall(r"[A-Za-z][A-Za-z0-9-]*", re.sub(r"\{\w+\}", "", word["zh"])))
    assert latin <= LATIN, "English in Chinese"
    assert not re.search(r"[\u4e00-\u9fff][,;:?!]|[,;:?!][\u4e00-\u9fff]", word["zh"]), "half-width"
