"""Changes to a request's body before it goes upstream; none unless the model's configuration asks for one."""

import msgspec

from protocol.catalogue import CatalogueModel

_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def apply(body: bytes, model: CatalogueModel) -> bytes:
    """The body with ``useModelName`` in place of the model's name; the other members byte for byte."""
    if not model.use_model_name:
        return body
    members = _decoder.decode(body)
    members["model"] = msgspec.Raw(msgspec.json.encode(model.use_model_name))
    return msgspec.json.encode(members)
