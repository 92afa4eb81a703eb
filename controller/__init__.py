"""Goldmaster keeps golden VM images where they should be.

Rule: imports go downward only, `cli > wiring > reading > kube | gitops | serve > engine | adapters > ports >
storage_ports > plan | media > settings > logs > model > errors > reasons`; import-linter holds it in `make lint`.
`controller/README.md` draws the house.
"""

__version__ = "0.1.0"
