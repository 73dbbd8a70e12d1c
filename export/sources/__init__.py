"""Models that can be exported, one file a source."""
