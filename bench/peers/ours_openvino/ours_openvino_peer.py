"""The same worker, in an environment that has the plug-in."""

from bench.peer_interface import Peer
from bench.peers.ours.ours_peer import Ours

__all__ = ["make"]


def make() -> Peer:
    """The system."""
    return OursOnOpenVINO()


class OursOnOpenVINO(Ours):
    """Whether it gets batches is up to authorid's engine, which tries whether they change a bit."""

    packages = (*Ours.packages, "onnxruntime-ep-openvino")
