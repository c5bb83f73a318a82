"""Defaults as a table: what is filled in for each field of a type, and of the types below it.

A field of Go's plain types has its default wherever it is empty (`""`, 0, false); a pointer
only where it is absent, so that an explicit 0 or "" stays. Hence the two columns `empty` and
`absent`. Applying a table twice changes nothing the second time.
"""

from collections.abc import Callable, Mapping
from typing import Any

Object = dict[str, Any]
Scalar = str | int | bool


class Defaults:
    """The defaults of one struct type.

    Args:
        empty: field -> value, set where the field is absent or has its zero value.
        absent: field -> value, set only where the field is absent.
        made: field -> table of a struct that is created where it is absent.
        within: field -> table of a struct, or of each struct of a list, that may be there.
        then: What no table can say; called last with the struct.
    """

    __slots__ = ("_absent", "_empty", "_made", "_then", "_within")

    def __init__(
        self,
        *,
        empty: Mapping[str, Scalar] | None = None,
        absent: Mapping[str, Scalar] | None = None,
        made: "Mapping[str, Defaults] | None" = None,
        within: "Mapping[str, Defaults] | None" = None,
        then: Callable[[Object], None] | None = None,
    ) -> None:
        self._empty = tuple((empty or {}).items())
        self._absent = tuple((absent or {}).items())
        self._made = tuple((made or {}).items())
        self._within = tuple((within or {}).items())
        self._then = then

    def apply(self, obj: Object) -> None:
        """Fill in what `obj` leaves out, in place."""
        for field, value in self._empty:
            if not obj.get(field):
                obj[field] = value
        for field, value in self._absent:
            if field not in obj:
                obj[field] = value
        for field, table in self._made:
            table.apply(obj.setdefault(field, {}))
        for field, table in self._within:
            if field in obj:
                table.each(obj[field])
        if self._then is not None:
            self._then(obj)

    def each(self, found: Object | list[Object]) -> None:
        """Fill in a struct, or every struct of a list."""
        if type(found) is list:
            for one in found:
                self.apply(one)
        elif type(found) is dict:
            self.apply(found)


NOTHING = Defaults()
"""The table of a struct that is only made."""
