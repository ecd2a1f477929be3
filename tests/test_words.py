"""The words users read: translations complete and in step, documents as the code says."""

import gettext
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

ROOT = Path(__file__).parent.parent
CATALOGUE = ROOT / "audit_agent" / "locale" / "zh_CN" / "LC_MESSAGES" / "messages.po"


def ours():
    """Every sentence of the command line."""
    rows = extract_from_dir(ROOT / "audit_agent" / "cli", keywords={"_": None, "translate": None})
    return sorted({message for _file, _line, message, _comments, _context in rows})


def test_every_sentence_of_the_command_line_is_translated():
    sentences = ours()
    assert len(sentences) > 40
    with CATALOGUE.open("rb") as file:
        catalogue = read_po(file)
    for sentence in sentences:
        message = catalogue.get(sentence)
        assert message is not None, f"{sentence!r}: run `make catalogue`"
        assert message.string, f"{sentence!r} is not translated"
        assert not list(message.check(catalogue))


def _singular(catalogue):
    found = {m.id: m.string for m in catalogue if isinstance(m.id, str) and m.id and m.string}
    assert found
    return found


def test_the_compiled_catalogue_is_in_step():
    with CATALOGUE.open("rb") as po, CATALOGUE.with_suffix(".mo").open("rb") as mo:
        wanted, compiled = _singular(read_po(po)), _singular(read_mo(mo))
    assert compiled == wanted


def test_gettext_reads_it():
    found = gettext.translation("messages", CATALOGUE.parent.parent.parent, languages=["zh_CN"])
    assert found.gettext("Options") == "选项"


@pytest.mark.parametrize(("lang", "name"), [("en", "checks.md"), ("zh", "checks.zh-CN.md")])
def test_the_catalogue_of_checks_is_in_step(lang, name):
    agent = Path(sys.executable).parent / "audit-agent"
    done = subprocess.run(
        [agent, "checks", "--format", "md", "--lang", lang], capture_output=True, check=True
    )
    assert (ROOT / "docs" / name).read_bytes() == done.stdout, "run `make catalogue`"
