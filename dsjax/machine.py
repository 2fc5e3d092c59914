"""What this machine has free."""

import math
import os


def gigabytes(n):
    """Bytes in words."""
    return f"{n / 1e9:,.1f} GB"


def available_memory():
    """Free physical memory [B], within the container's limit; infinite where the system does not tell."""
    free = math.inf
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":") for line in file)
        free = int(lines["MemAvailable"].split()[0]) * 1024
        with (
            open("/sys/fs/cgroup/memory.max", encoding="ascii") as limit,
            open("/sys/fs/cgroup/memory.current", encoding="ascii") as used,
        ):
            text = limit.read().strip()
            if text != "max":
                free = min(free, int(text) - int(used.read()))
    except (OSError, KeyError, ValueError):
        if math.isinf(free) and hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
            free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return free
