"""The cluster of Ray: connecting to it, and what its nodes have."""

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import ray

from headrace.errors import SharedMemoryError


class Cluster(NamedTuple):
    """What there is to work with."""

    session: tuple[str, str]  # another one for each connection
    cpus: int
    store_bytes: int  # of the consumer's node


def connect() -> Cluster:
    """The cluster that Ray is connected to, or connects to as is its custom."""
    if not ray.is_initialized():
        ray.init()
    session = current_session()
    nodes = _nodes()
    here = nodes.get(session[1], {})
    return Cluster(
        session,
        int(sum(resources.get("CPU", 0) for resources in nodes.values())),
        int(here.get("object_store_memory", 0)),
    )


def current_session() -> tuple[str, str]:
    """The job and the node: of two clusters, jobs may have the same number."""
    context = ray.get_runtime_context()
    return context.get_job_id(), context.get_node_id()


def check_fits(lookahead_bytes: int, cluster: Cluster) -> None:
    """Raises an error if the look-ahead has no room.

    Raises:
        SharedMemoryError: (a MemoryError) the object store is smaller.
    """
    if lookahead_bytes > cluster.store_bytes:
        raise SharedMemoryError(
            f"The look-ahead takes {lookahead_bytes} bytes, but the object store of this node has "
            f"{cluster.store_bytes}. Pass a smaller lookahead_bytes to Ray, or give the node a "
            "larger store, with object_store_memory of ray.init or of 'ray start'."
        )


def warn_if_no_node_has(options: Mapping[str, Any]) -> None:
    """Ray waits for such a node without a word, as one may join.

    Args:
        options: of a task.
    """
    if options.get("scheduling_strategy") not in (None, "DEFAULT", "SPREAD"):
        return
    cpus = options.get("num_cpus")
    asked: dict[str, float] = {
        "CPU": 1 if cpus is None else cpus,
        "GPU": options.get("num_gpus") or 0,
        "memory": options.get("memory") or 0,
        **(options.get("resources") or {}),
    }
    if not any(
        all(has.get(name, 0) >= n for name, n in asked.items()) for has in _nodes().values()
    ):
        wanted = {name: n for name, n in asked.items() if n}
        warnings.warn(
            f"no node of Ray's cluster has {wanted}, so no batch is made until one joins. Change "
            "num_cpus, num_gpus, memory or resources of Ray if none will.",
            stacklevel=2,
        )


def _nodes() -> dict[str, dict[str, float]]:
    """What each living node has, used or not, by the node's id."""
    nodes: Any = ray.nodes  # which has no types
    return {node["NodeID"]: node["Resources"] for node in nodes() if node["Alive"]}
