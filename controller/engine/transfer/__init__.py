"""One transfer: whose turn it is, where its bytes come from, what they must be, and where they go.

Plain data in, plain data out (`model/transfer`): nothing here knows of reconciling, and the day it runs in a process of
its own, this folder is what runs there.
"""
