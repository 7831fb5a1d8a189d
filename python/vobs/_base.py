"""The base classes of the models."""

from pydantic import BaseModel, ConfigDict


class Group(BaseModel):
    """Part of an event. Keys that this version does not know stay in ``model_extra``."""

    model_config = ConfigDict(
        extra="allow",
        populate_by_name=True,
        serialize_by_alias=True,
        protected_namespaces=(),
    )


class Frozen(BaseModel):
    """The part of an event whose keys never change: unknown keys are an error."""

    model_config = ConfigDict(extra="forbid")
