"""Where documents come from: discovery of files, ignore rules, decoding, timeouts."""
