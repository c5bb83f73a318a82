"""Bytes that are not what their media type says."""

from wherry.api.errors import BadRequestError


class UnreadableError(BadRequestError):
    """A decoder refused a body; the message is its own, without a word of what the body was to be."""
