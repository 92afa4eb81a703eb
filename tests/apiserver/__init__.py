"""A real kube-apiserver for the tests: its sources pinned by go.mod and go.sum, built once, started per session.

`assets` finds or builds the binaries, `credentials` makes the certificates, `cluster` starts and stops the processes,
`client` speaks to them. README.md beside this file says how to raise the version and what it costs.
"""
