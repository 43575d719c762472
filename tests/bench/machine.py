"""On what a benchmark ran: the machine and the versions of what matters."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Final

from OpenSSL import SSL

from server.version import VERSION

ROOT: Final = Path(__file__).resolve().parents[2]


def machine() -> dict[str, str | int | float]:
    """Processor, cores that may be used, memory, kernel, and how busy it was before."""
    cpu = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    model = re.search(r"^model name\s*: (.*)$", cpu, re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE)
    return {
        "processor": model[1] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": int(memory[1]) // 1024 if memory else 0,
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[1], 2),
    }


def versions() -> dict[str, str]:
    """Of the server, this checkout, and the libraries whose speed is the result's."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "fengsui": VERSION,
        "commit": commit.stdout.strip(),
        "python": platform.python_version(),
        "openssl": SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode(),
        "pylibsrtp": metadata.version("pylibsrtp"),
        "uvloop": metadata.version("uvloop"),
    }
