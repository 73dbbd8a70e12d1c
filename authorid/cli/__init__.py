"""The command line: one file a command, the options that they share, and the terminal."""
