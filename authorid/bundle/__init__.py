"""A model on disk: manifest, decision rule, verification, saving."""
