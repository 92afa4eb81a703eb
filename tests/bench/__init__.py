"""What `make bench` measures; not part of the test suite."""
