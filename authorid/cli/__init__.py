"""The command line: one file a command, shared options, what the terminal shows."""
