"""What a row of the table of kinds says (`wherry.apiserver.resources`)."""

from dataclasses import dataclass

from wherry.api.kinds import Kind

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Subresource:
    """`pods/eviction`: the kind of its body and the verbs it serves."""

    name: str
    verbs: tuple[str, ...] = ("get", "patch", "update")
    body: tuple[str, str, str] | None = None
    """(group, version, kind) of what is sent, where it differs from the parent's."""


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One row; it is the only one of its kind, so that to look something up by it costs nothing."""

    kind: Kind
    singular: str
    storage_prefix: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    field_selectors: tuple[str, ...] = ()
    """Dotted paths served besides metadata.name and metadata.namespace."""
    unknown_field_words: str = "field label not supported: {path}"
    """What is said of another path, where the kind serves any of its own."""
    verbs: tuple[str, ...] = ALL_VERBS
    stored_as: Kind | None = None
    """The kind whose objects these are, in another version or group (`versions` converts)."""
    deprecated: str = ""
    """What everybody is warned of who asks for it, whatever they ask (API lifecycle tags)."""

    def subresource(self, name: str) -> Subresource | None:
        """Return the subresource of that name, if there is one."""
        return next((s for s in self.subresources if s.name == name), None)

    def key(self, namespace: str, name: str) -> bytes:
        """Return the storage key of one object."""
        return self.prefix(namespace) + name.encode()

    def prefix(self, namespace: str = "") -> bytes:
        """Return the storage prefix of all objects, or of one namespace's."""
        if self.kind.namespaced and namespace:
            return f"{self.storage_prefix}{namespace}/".encode()
        return self.storage_prefix.encode()

    def unknown_field(self, path: str) -> str:
        """Return what is said of a field selector that is not served.

        Kinds that serve no more than name and namespace have words in common.
        """
        if not self.field_selectors:
            return f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'
        return self.unknown_field_words.format(path=path)

    def owns(self, key: bytes) -> bool:
        """Tell whether a key below the prefix is one of this resource's own objects.

        `/coreos.com/network/` holds the network's configuration, and below it
        `subnets/` is another resource.
        """
        return key.count(b"/", len(self.storage_prefix)) == int(self.kind.namespaced)


STATUS = Subresource("status")
SCALE = Subresource("scale", body=("autoscaling", "v1", "Scale"))
ALL = ("all",)
"""The category of `kubectl get all`."""


def stored(
    kind: Kind,
    short_names: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    subresources: tuple[Subresource, ...] = (),
    field_selectors: tuple[str, ...] = (),
    prefix: str = "",
    deprecated: str = "",
) -> Resource:
    """Return the row of a kind that follows the rules: its key is its plural, all verbs."""
    return Resource(
        kind,
        kind.kind.lower(),
        prefix or f"/registry/{kind.plural}/",
        short_names,
        categories,
        subresources,
        field_selectors,
        deprecated=deprecated,
    )
