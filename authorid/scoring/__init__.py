"""Scoring: the public `Scorer`, its scheduler, the cascade, attributions, statistics."""
