"""The command line. Parses and prints; decides nothing."""
