"""Raft: PySyncObj 0.3.17's elections and bookkeeping, with durability, wire and reads of our own.

    node.py      RaftNode: the one class that others use
    core.py      one member: commands, reads, applying; on top of
    replication.py, election.py, stock.py (the only module that imports pysyncobj)
    match.py     pure: what a follower does with entries
    message.py   what members say to each other
    link.py      how they reach each other (mTLS streams)
    wal.py       the log on disk, made of record.py
    keeper.py    when a snapshot is taken or installed; snapshot.py: what it is on disk
    disk.py      files, as far as these need them

Why not PySyncObj as it is: docs/adr/0001. Every deviation is explained where it is made.
"""

import sys
from types import ModuleType

# pysyncobj's own encryption is not used (links are mTLS), but importing it would load the
# library of cryptography, 8 MB, into every store.
_unused = ModuleType("pysyncobj.encryptor")
_unused.HAS_CRYPTO = False  # type: ignore[attr-defined]
_unused.getEncryptor = None  # type: ignore[attr-defined]
sys.modules.setdefault(_unused.__name__, _unused)
