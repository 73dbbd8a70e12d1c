"""The same worker, in an environment that has the plug-in."""

from bench.peer import Peer
from bench.peers.ours.worker import Ours

__all__ = ["make"]


def make() -> Peer:
    """The contestant."""
    return OursOnOpenVINO()


class OursOnOpenVINO(Ours):
    """A batch has one thread, whatever was asked for."""

    packages = (*Ours.packages, "onnxruntime-ep-openvino")
