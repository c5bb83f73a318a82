"""From a plugin's own unit to 0..MAX_NODE_SCORE."""

from collections.abc import Sequence

from wherry.scheduler.framework import MAX_NODE_SCORE


def scaled(raw: Sequence[int], *, reverse: bool = False) -> list[int]:
    """Scale so that the largest becomes the best score, or with `reverse` the worst.

    Where all are 0 nothing distinguishes the nodes: all are worst, or with `reverse` best.
    """
    most = max(raw, default=0)
    if most == 0:
        return [MAX_NODE_SCORE if reverse else 0] * len(raw)
    shares = [MAX_NODE_SCORE * value // most for value in raw]
    return [MAX_NODE_SCORE - share for share in shares] if reverse else shares
