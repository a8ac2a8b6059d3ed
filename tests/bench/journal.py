"""What does one record cost the request that waits for it?"""

import tempfile
import time
from pathlib import Path

from sidecar.handoff.journal import Journal
from tests.bench.measure import median

LINES = 20_000
ROUNDS = 5


def main() -> None:
    """Append 2 kB records."""
    line = b"x" * 2_000
    with tempfile.TemporaryDirectory(prefix="signalops-bench-") as folder:
        rounds = []
        for number in range(ROUNDS):
            journal = Journal(Path(folder), writer=f"bench-{number}")
            began = time.perf_counter()
            for _ in range(LINES):
                journal.append(line)
            rounds.append((time.perf_counter() - began) / LINES * 1e6)
            journal.close()
    print(f"journal_append_us: {median(rounds):.1f}")


if __name__ == "__main__":
    main()
