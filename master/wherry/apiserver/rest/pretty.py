"""Answers that people read: JSON with line breaks, for who asks for it and for what people ask with.

Source: apiserver `negotiation.isPrettyPrint`.
"""

from urllib.parse import parse_qs

import orjson

from wherry.apiserver.http.message import JSON, Reply, Response

_PEOPLE = ("curl", "Wget", "Mozilla/5.0")
_MOST_BYTES = 1 << 20
"""Nobody reads more, and to write it anew holds up everybody else: 12 MB for 0.6 s."""
_TRUE = ("1", "t", "T", "TRUE", "true", "True")


def is_for_people(query: str, user_agent: str) -> bool:
    """Tell whether who asks would like to read the answer; `pretty` decides where it is there."""
    if "pretty=" in query and (asked := parse_qs(query).get("pretty")):
        return asked[0] in _TRUE
    return user_agent.startswith(_PEOPLE)


def indented(reply: Reply) -> Reply:
    """Return an answer of ours with line breaks; what is no JSON document, or large, stays as it is."""
    if not isinstance(reply, Response) or len(reply.body) > _MOST_BYTES:
        return reply
    if reply.content_type == JSON:
        value = orjson.loads(bytes(reply.body))
        reply.body = orjson.dumps(value, option=orjson.OPT_INDENT_2)
    return reply
