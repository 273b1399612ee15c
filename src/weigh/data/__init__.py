"""Tables, contracts and the data that packages bring.

What a user brings is read lazily (`scan`, `read`), named by its content (`fingerprint`, `snapshot`), checked before
it is used (`require`, `Contract`) and split by time (`split_by_time`). To try: a real year (`weigh.data.flights`),
models (`weigh.data.smollm2`, `minilm`, `digits`) and texts (`manual`, `topics`), each a module of its own.
Importing this package loads neither polars nor numpy.
"""

from weigh.data._require import require
from weigh.data.cache import cache_folder
from weigh.data.contract import Column, Contract, ContractReport, Violation
from weigh.data.split import split_by_time
from weigh.data.table import DataError, fingerprint, read, scan, scan_whole, snapshot

__all__ = [
    "Column",
    "Contract",
    "ContractReport",
    "DataError",
    "Violation",
    "cache_folder",
    "fingerprint",
    "read",
    "require",
    "scan",
    "scan_whole",
    "snapshot",
    "split_by_time",
]
