"""The command line: the only code that prints and the only code that exits."""


def main() -> None:
    """Entry point of `audit-agent`."""
