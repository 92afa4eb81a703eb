"""DO it, against ports only: queue, observe, execute, reconcile; bytes move in `transfer/`. Imports no adapter."""
