"""The command line: one file a verb, which parses and calls, nothing more."""
