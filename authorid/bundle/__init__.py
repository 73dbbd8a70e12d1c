"""A model on disk: the manifest, the decision rule, verification of untrusted files, atomic saving."""
