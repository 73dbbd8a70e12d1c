"""One package a peer: pinned ``requirements.txt``, and ``worker.py`` with a `Peer` that its environment can run."""
