"""WHAT to do: pure functions of (object, observed, now). The only place that decides."""
