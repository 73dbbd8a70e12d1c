"""Other places than this process to score the shards of a run in."""
