"""OCI images as values: layers and a configuration in, the files of an image layout out. Pure."""

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its compressed bytes and the digest of what is inside."""

    data: bytes
    diff_id: str

    @classmethod
    def of(cls, tar: bytes) -> "Layer":
        """Compress a tar archive into a layer."""
        return cls(gzip.compress(tar, 6, mtime=0), _digest(tar))


@dataclass(frozen=True, slots=True)
class Image:
    """What one tag names; `config` is the OCI image configuration's `config` object."""

    layers: Sequence[Layer]
    config: Mapping[str, Any] = field(default_factory=dict)


def layout(images: Mapping[str, Image]) -> dict[str, bytes]:
    """The files of an OCI image layout that holds these images by tag, by relative path."""
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    index = []
    for tag, image in images.items():
        config = _json(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": dict(image.config),
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in image.layers]},
            }
        )
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": _descriptor(CONFIG, config),
                "layers": [_descriptor(LAYER, layer.data) for layer in image.layers],
            }
        )
        for blob in (config, manifest, *(layer.data for layer in image.layers)):
            files[f"blobs/{_digest(blob).replace(':', '/')}"] = blob
        reference = {"org.opencontainers.image.ref.name": tag}
        index.append({**_descriptor(MANIFEST, manifest), "annotations": reference})
    files["index.json"] = _json({"schemaVersion": 2, "manifests": index})
    return files


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
