"""Standalone mode: loads a tree of manifests, keeps state in SQLite, watches, drives the engine."""
