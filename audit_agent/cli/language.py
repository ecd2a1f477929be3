"""Which language to speak: the locale's, English or Chinese, through gettext's catalogues."""

import os
from pathlib import Path


def locale_language() -> str:
    """Tell "zh" where the locale says Chinese, else "en" (locale(7): LC_ALL, LC_MESSAGES, LANG)."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name, "")
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def _catalogue() -> None:
    """Point gettext's default domain, which click uses too, at our translations."""
    import gettext  # noqa: PLC0415 - English needs no catalogue, and start-up time is felt

    gettext.bindtextdomain("messages", str(Path(__file__).parent.parent / "locale"))
    os.environ["LANGUAGE"] = "zh_CN"


_CHINESE = locale_language() == "zh"
if _CHINESE:
    _catalogue()


def translate(message: str) -> str:
    """`message`, which is English, in the locale's language."""
    if not _CHINESE:
        return message
    import gettext  # noqa: PLC0415 - see _catalogue

    return gettext.gettext(message)
