"""The processes of a job: joining them, and what JAX keeps to itself of them."""

import os
from collections.abc import Sequence
from typing import Any

import jax
from jax._src.clusters import ClusterEnv
from jax._src.distributed import global_state  # JAX's key-value store of a job has no public door

from hyperjax.checks import positive_integer

HEARTBEAT_TIMEOUT_SECONDS = 40
_told: dict[str, int] = {}  # what `initialize` was told, once it was called


def initialize(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    local_device_ids: int | Sequence[int] | None = None,
    *,
    heartbeat_timeout_seconds: int = HEARTBEAT_TIMEOUT_SECONDS,
) -> None:
    """Join the other processes of a job, so that `fit`, `fit_population`, `resume` and `study` share their work.

    The same script runs on every host and calls this first. Slurm, Open MPI, Kubernetes and TPU pods say the rest;
    elsewhere give the first three arguments. Each process then trains its part of the members on its own devices, and
    every one returns all runs. Alone, or called again, it does nothing. It is `jax.distributed.initialize` and may be
    replaced by it; nothing else in HyperJAX changes a setting of the process.

    Args:
        coordinator_address: host and port of process 0, "10.0.0.1:1234"; the port must be free there.
        num_processes: in the job.
        process_id: of this one, from 0.
        local_device_ids: accelerators that this process may use; None: all of its host's, or what the cluster says.
        heartbeat_timeout_seconds: after so long a silence JAX ends the job; a training ends, with a message that says
            whom it waited for, after half of it.
    Raises: RuntimeError where JAX's devices were used before; ValueError where some arguments are missing.

    >>> initialize("10.0.0.1:1234", num_processes=2, process_id=0)  # doctest: +SKIP
    """
    given = {
        "coordinator_address": coordinator_address,
        "num_processes": num_processes,
        "process_id": process_id,
        "local_device_ids": local_device_ids,
    }
    nothing = all(value is None for value in given.values())
    if jax.distributed.is_initialized() or (nothing and _told):
        return
    positive_integer("heartbeat_timeout_seconds", heartbeat_timeout_seconds)
    try:
        jax.distributed.initialize(**given, heartbeat_timeout_seconds=heartbeat_timeout_seconds)  # type: ignore[arg-type]
    except RuntimeError as error:
        if nothing and not _in_a_cluster():
            return  # in a notebook, say, whose first cells have run
        if "before any JAX" in str(error):
            raise RuntimeError(
                "hyperjax.initialize must be called before anything uses JAX's devices (jax.devices(), an array, a "
                "task's data): move it to the beginning of the program"
            ) from None
        raise
    except ValueError as error:
        alone = nothing and "JAX_COORDINATOR_ADDRESS" not in os.environ
        if not alone or "coordinator_address" not in str(error):
            raise ValueError(
                "coordinator_address, num_processes and process_id must be given where no cluster is found that says "
                f"them, got {given}: {error}"
            ) from None
    _told["heartbeat_timeout_seconds"] = heartbeat_timeout_seconds


def _in_a_cluster() -> bool:
    """Whether JAX would find other processes by itself."""
    named = "JAX_COORDINATOR_ADDRESS" in os.environ
    return named or any(not kind.opt_in_only_method and kind.is_env_present() for kind in ClusterEnv._cluster_types)


def silence_seconds() -> float:
    """How long another process may say nothing before a training ends: half of what JAX itself allows."""
    return _told.get("heartbeat_timeout_seconds", HEARTBEAT_TIMEOUT_SECONDS) / 2


def store() -> Any:
    """The job's key-value store, which lives in process 0; its calls raise `jax.errors.JaxRuntimeError`.

    Raises: RuntimeError in one of several processes that have not joined.
    """
    if global_state.client is None:
        raise RuntimeError("hyperjax.initialize must be called at the beginning of every process of a job, got no call")
    return global_state.client
