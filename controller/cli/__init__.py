"""One file per family of verbs: parses, calls, prints; decides nothing."""
