"""Tests of the yardstick: figures are only as good as what measures them."""
