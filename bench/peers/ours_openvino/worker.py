"""The same worker, in an environment that has the plug-in."""

from bench.peers.ours.worker import make

__all__ = ["make"]
