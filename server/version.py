"""The version of this program."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final


def _version() -> str:
    try:
        return version("fengsui")
    except PackageNotFoundError:  # run from a checkout that is not installed
        project = Path(__file__).resolve().parent.parent / "pyproject.toml"
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])


VERSION: Final = _version()
