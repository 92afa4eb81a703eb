"""What `make bench-kube` measures on a real kube-apiserver; not part of the test suite."""
