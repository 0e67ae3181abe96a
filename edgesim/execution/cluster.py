"""A Ray cluster: how a run gets to one. Ray is optional; it is imported here alone, and only when it is asked for."""

import os
import socket
from importlib import import_module
from typing import Any

from edgesim.errors import RunError, ScenarioError

_KNOCK_S = 10.0
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray will do anyway, and warns of until then
}


def connect(address: str, asked_by: str) -> Any:
    """The module `ray`, connected to the cluster at `address`, or to the one that this process is connected to.

    Args:
        address: auto, for the cluster that RAY_ADDRESS names or that was started on this machine; HOST:PORT;
            ray://HOST:PORT, from outside the cluster; local, for one of this machine alone that ends with the process.
        asked_by: what wants it, for messages.

    Raises:
        ScenarioError: Ray is not installed.
        RunError: no cluster answers.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        ray = import_module("ray")
    except ImportError:
        raise ScenarioError(f'{asked_by}: Ray is not installed; pip install "edgesim[ray]"') from None
    if not ray.is_initialized():
        options = {"include_dashboard": False} if address == "local" else {}
        try:
            _knock(address)
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **options)
        except Exception as error:  # of many kinds
            raise RunError(
                f"{asked_by}: no Ray cluster at '{address}' ({_first_line(error)}); start one with `ray start --head`, "
                "and set RAY_AUTH_MODE=token here if it asks for a token"
            ) from error
    return ray


def _knock(address: str) -> None:
    """Raise OSError where nobody listens; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), _KNOCK_S).close()


def inside() -> bool:
    """Whether this process is itself at work for a cluster."""
    return "RAY_RAYLET_PID" in os.environ


def cause(error: Any) -> Exception:
    """What went wrong in a worker's own code, of what Ray makes of it."""
    found = getattr(error, "cause", None)
    return found if isinstance(found, Exception) else RunError(f"a worker of the cluster failed: {error}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
