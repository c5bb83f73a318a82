"""A backup of a running member: the bytes of a snapshot file, while writes go on.

They are exactly those of a `.snap` file (`raft/snapshot.py`), checksum included: what is
saved here can be put into a data directory (`wherry store snapshot restore`).
"""

import asyncio
from collections.abc import AsyncGenerator

from wherry.api.errors import UnavailableError
from wherry.store.raft.snapshot import Encoder
from wherry.store.replica import Replica


async def snapshot_bytes(replica: Replica) -> AsyncGenerator[bytes, None]:
    """Yield a snapshot of what `replica` has applied when it is first asked.

    Close the iterator (`contextlib.aclosing`) if it is not read to its end: until then nothing
    that was compacted is freed. A snapshot holds everything acknowledged before if a
    linearizable read went before it.

    Raises:
        UnavailableError: the member has not recovered yet, or has stopped.
        ReplacedError: another member's snapshot was installed meanwhile: begin again.
    """
    header = replica.node.snapshot_header()
    if header is None:
        raise UnavailableError("this member holds no state yet")
    encoder = Encoder(header)
    with replica.state.snapshot() as view:
        yield encoder.begin()
        for chunk in view.chunks():
            yield encoder.add(chunk)
            await asyncio.sleep(0)  # a piece takes about a millisecond: let others go first
        yield encoder.end()
