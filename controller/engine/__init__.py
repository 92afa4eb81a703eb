"""DO it, against ports only: queue, observe, execute, transfers, resync. Never imports an adapter."""
