"""Operator mode: an API server's objects for the engine. The only importer of kopf, and the only speaker of its API."""
