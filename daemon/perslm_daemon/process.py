"""What a process costs. The only importer of psutil."""

from __future__ import annotations

import psutil


def resident_bytes(pid: int | None = None) -> int:
    """Memory of a process (this one when None) that is in RAM now, shared pages included, in bytes."""
    return int(psutil.Process(pid).memory_info().rss)


def private_bytes(pid: int | None = None) -> int:
    """Memory that would be free if the process ended (USS), in bytes; mapped model files do not count."""
    return int(psutil.Process(pid).memory_full_info().uss)


def written_bytes(pid: int | None = None) -> int:
    """What a process has handed to the kernel to write so far, in bytes; what it maps does not count."""
    return int(psutil.Process(pid).io_counters().write_chars)


def cpu_seconds(pid: int | None = None) -> float:
    """Processor time that a process (this one when None) has used, in seconds."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def idle_cores(seconds: float = 0.2) -> float:
    """Cores that nobody used during the last `seconds`; measuring takes that long."""
    used = psutil.cpu_percent(interval=seconds, percpu=True)
    return sum(100 - percent for percent in used) / 100


def command_line(pid: int) -> list[str]:
    """The words a process was started with; none where there is no such process, or it is hidden from us."""
    try:
        return list(psutil.Process(pid).cmdline())
    except psutil.Error:
        return []


def listening_ports(pid: int) -> frozenset[int]:
    """The TCP ports a process listens on; none where there is no such process any more."""
    try:
        found = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.Error:
        return frozenset()
    return frozenset(int(one.laddr.port) for one in found if one.status == psutil.CONN_LISTEN)


def thread_count(pid: int | None = None) -> int:
    """Threads of a process (this one when None), native ones included."""
    return int(psutil.Process(pid).num_threads())
