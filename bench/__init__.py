"""The benchmark: authorid against its peers, each in its own environment. Run ``python -m bench`` from a checkout."""
