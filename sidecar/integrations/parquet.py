"""How do lines of JSON become a Parquet file? In a process of its own.

What polars takes of memory it keeps, and who wants no Parquet should not load it at all.
"""

import asyncio
import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from sidecar.core.errors import Unavailable

# One thread: each further one holds row groups of its own, and gains little.
_ENVIRONMENT = {"POLARS_MAX_THREADS": "1"}
_PROCESS = "sidecar.integrations.parquet_process"


def check_installed(name: str = "polars") -> None:
    """Refuse when the library that writes Parquet is not there.

    Raises:
        Unavailable: It is not.
    """
    if importlib.util.find_spec(name) is None:
        msg = f"Parquet needs {name}, which is not installed; install signalops[parquet]"
        raise Unavailable(msg)


async def write(lines: Path, table: Path, columns: Mapping[str, str]) -> None:
    """Write a table from lines of JSON; memory does not grow with them.

    Args:
        columns: For each column `text`, `bool`, `float`, `int`, or `messages`, which is a
            list of roles and texts. A column that a line lacks is null there.

    Raises:
        Unavailable: The process was ended before it was done, as for want of memory.
    """
    named = [f"{name}={kind}" for name, kind in columns.items()]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", _PROCESS, str(lines), str(table), *named),
        env=os.environ | _ENVIRONMENT,
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:  # nobody waits for the table any more
            process.kill()
            await process.wait()
    if code != 0:
        msg = f"the process that writes Parquet ended with {code}; the sidecar's log has more"
        raise Unavailable(msg)
