"""What the service manager is told: ready, alive, stopping (sd_notify(3)).

Everything here does nothing where no service manager asked to be told.
"""

import os
import socket

import structlog

log = structlog.get_logger()


def ready(status: str) -> None:
    """The start is complete: units that wait for this one may go on."""
    _notify("READY=1", f"STATUS={_one_line(status)}")


def say(status: str) -> None:
    """One line for `systemctl status`."""
    _notify(f"STATUS={_one_line(status)}")


def stopping(status: str) -> None:
    """The end has begun."""
    _notify("STOPPING=1", f"STATUS={_one_line(status)}")


def alive() -> None:
    """Owed at least every `watchdog_interval()`; the process is killed without it."""
    _notify("WATCHDOG=1")


def watchdog_interval() -> float | None:
    """Seconds between two signs of life: half of what the service manager grants, so that
    one may be late. None where it watches nobody, or another process.
    """
    granted = os.environ.get("WATCHDOG_USEC", "")
    watched = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not granted.isdecimal() or int(granted) == 0 or watched != str(os.getpid()):
        return None
    return int(granted) / 2_000_000


def _one_line(status: str) -> str:
    # A line break would begin another assignment.
    return " ".join(status.split())


def _notify(*assignments: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket: its name begins with NUL
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.connect(address)
            manager.sendall("\n".join(assignments).encode())
    except OSError as fault:
        # Inherited from a manager that is not ours, or gone. Watching goes on without it.
        log.warning("systemd.unreachable", exc_info=fault)
