"""The report in a real browser: it loads without complaint and prints with its evidence."""

import re
import shutil
import subprocess

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if CHROMIUM is None or shutil.which("pdftotext") is None:
        pytest.skip("needs chromium and pdftotext: apt-get install chromium poppler-utils")

    def run(page, *words):
        profile = tmp_path_factory.mktemp("profile")
        return subprocess.run(
            [
                CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-sync", "--disable-background-networking", f"--user-data-dir={profile}",
                "--enable-logging=stderr", *words, page.as_uri(),
            ],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip

    return run


def complaints(run):
    return [line for line in run.stderr.splitlines() if ":CONSOLE:" in line]


@pytest.mark.parametrize(
    ("lang", "words"),
    [("zh", ["内部资料", "优先整改事项", "证据摘要"]), ("en", ["Internal document", "Annex A"])],
)
def test_it_prints_with_everything_that_is_folded(sample, chromium, tmp_path, lang, words):
    page, pdf = tmp_path / "report.html", tmp_path / "report.pdf"
    page.write_bytes(sample.render(sample.make(), lang))
    run = chromium(page, "--no-pdf-header-footer", f"--print-to-pdf={pdf}")
    assert complaints(run) == []
    text = subprocess.run(
        ["pdftotext", "-layout", pdf, "-"], capture_output=True, text=True, check=True
    ).stdout
    for word in [*words, "redis-server", "root:x:0:0:root:/root:/bin/bash"]:
        assert word in text
    pages = text.rstrip("\f").split("\f")
    assert 4 <= len(pages) <= 12
    assert all("web1.example.cn" in page and sample.sha in page for page in pages)
    for number, page in enumerate(pages, 1):
        assert re.search(rf"\b{number} ?/ ?{len(pages)}\s*$", page)


def test_the_policy_holds_in_a_browser(sample, chromium, tmp_path):
    page = tmp_path / "report.html"
    data = sample.render(sample.make(), "en")
    page.write_bytes(data.replace(b"<main>", b"<main><img src='data:,x'><p style='color:red'>"))
    run = chromium(page, f"--screenshot={tmp_path / 'shot.png'}", "--window-size=390,800")
    assert len(complaints(run)) == 2
