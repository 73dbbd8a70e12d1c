"""Where documents come from: discovery of files, ignore rules, readers, decoding, timeouts.

`discovery.walk` finds files, `reading.read_file` turns each into documents with the reader of its format.
"""
