"""Print legacy iptables tables as JSON lines; run by witnesses.py in a process of its own.

Arguments: "ipv4:filter", "ipv6:nat" ...: tables that the kernel already has. Naming another one
would create it.
"""

import importlib
import json
import os
import sys
import warnings
from types import ModuleType

_exists = os.path.exists


def main(tables: list[str]) -> int:
    """Print the tables' chains; 0, or 1 where the library cannot be used."""
    warnings.simplefilter("ignore")
    # The library would load kernel modules: let it believe that this kernel has none to load.
    os.path.exists = _exists_but_modules
    try:
        iptc = importlib.import_module("iptc")
    except Exception as error:  # noqa: BLE001 - it raises its own kinds, and not ImportError
        sys.stderr.write(f"python-iptables cannot be imported: {error}\n")
        return 1
    for table in tables:
        family, _, name = table.partition(":")
        try:
            _print(iptc, family, name)
        except Exception as error:  # noqa: BLE001 - its errors have no common kind
            sys.stderr.write(f"{table}: {type(error).__name__}: {error}\n")
            return 1
    return 0


def _exists_but_modules(path: int | str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> bool:
    return path != "/proc/modules" and _exists(path)


def _print(iptc: ModuleType, family: str, name: str) -> None:
    table = (iptc.Table6 if family == "ipv6" else iptc.Table)(name)
    for chain in table.chains:
        policy = chain.get_policy()
        rules = [iptc.easy.decode_iptc_rule(rule, family == "ipv6") for rule in chain.rules]
        line = {
            "family": family,
            "table": name,
            "chain": chain.name,
            "policy": policy.name if policy else None,
            "rules": rules,
        }
        sys.stdout.write(json.dumps(line, sort_keys=True, default=str) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
