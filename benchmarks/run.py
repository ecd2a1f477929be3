"""Times whole processes against a named peer in the same run, and prints the ratios.

    make benchmark              start-up against a bare interpreter; a local audit against Lynis
    .venv/bin/python benchmarks/run.py startup|audit

CPU is user plus system of the process and all its children; memory is the largest single process.
Nothing here is asserted by a test: machines differ, ratios in one run do not differ much.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BIN = Path(sys.executable).parent
AGENT = str(BIN / "audit-agent")


def measure(words: list[str], cwd: str) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and MiB of one run; a fresh child does the waiting."""
    read_end, write_end = os.pipe()
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        done = subprocess.run(words, cwd=cwd, capture_output=True, check=False)
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = usage.ru_utime + usage.ru_stime
        os.write(write_end, f"{cpu} {usage.ru_maxrss / 1024} {done.returncode}".encode())
        os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)
    wall = time.perf_counter() - started
    cpu, memory, status = os.read(read_end, 200).decode().split()
    os.close(read_end)
    if int(status) not in {0, 3}:
        sys.exit(f"{words[0]} exited with {status}")
    return float(cpu), wall, float(memory)


def compare(name: str, ours: list[str], peer: list[str], runs: int) -> None:
    """Both in turn, A B A B, after a warm-up of ours; medians and the median ratio."""
    with tempfile.TemporaryDirectory() as folder:
        measure(ours, folder)
        pairs = [(measure(ours, folder), measure(peer, folder)) for _ in range(runs)]
    print(f"{name}: {runs} runs; A = {' '.join(ours)}; B = {' '.join(peer)}")
    for index, unit in ((0, "s CPU"), (1, "s wall"), (2, "MiB")):
        a = statistics.median(pair[0][index] for pair in pairs)
        b = statistics.median(pair[1][index] for pair in pairs)
        ratio = statistics.median(pair[0][index] / pair[1][index] for pair in pairs)
        print(f"  A {a:8.3f}  B {b:8.3f} {unit:7}  A/B {ratio:.3f}  B/A {1 / ratio:.1f}")


def startup() -> None:
    """`--help` against an interpreter that does nothing."""
    compare("startup", [AGENT, "--help"], [sys.executable, "-c", ""], 9)


def audit() -> None:
    """A whole local audit, report included, against Lynis on the same machine."""
    lynis = shutil.which("lynis") or "/usr/sbin/lynis"
    if not Path(lynis).exists():
        sys.exit("lynis is not installed (Debian package lynis): nothing to compare with")
    quick = [lynis, "audit", "system", "--quick", "--no-colors"]
    compare("audit", [AGENT, "run", "-q", "-o", "."], quick, 2)


if __name__ == "__main__":
    chosen = sys.argv[1:] or ["startup", "audit"]
    for word in chosen:
        {"startup": startup, "audit": audit}[word]()
