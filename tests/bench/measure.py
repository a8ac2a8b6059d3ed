"""How much processor time does a process tree use, and how much memory?"""

import statistics
from collections.abc import Sequence

import psutil


def cpu_s(root: psutil.Process) -> float:
    """Processor seconds of a process and its living descendants, so far."""
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        times = process.cpu_times()
        total += times.user + times.system
    return total


def memory_mb(root: psutil.Process) -> float:
    """Unique memory of a process and its descendants, in MB: what would be free without it."""
    processes = [root, *root.children(recursive=True)]
    return sum(process.memory_full_info().uss for process in processes) / 1e6


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(values)
