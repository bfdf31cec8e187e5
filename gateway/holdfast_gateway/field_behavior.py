"""The field behavior options of the protos."""

from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor


def behaves(field: FieldDescriptor, behavior: str) -> bool:
    """Return whether a field has a `google.api.field_behavior`, such as REQUIRED."""
    behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.FieldBehavior.Value(behavior) in behaviors


def is_map(field: FieldDescriptor) -> bool:
    """Return whether a field is a map. Its message type has the fields `key` and `value`."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def map_value(field: FieldDescriptor) -> FieldDescriptor:
    """Return the field of a map's values."""
    if field.message_type is None:
        raise TypeError(f"{field.full_name} is not a map")
    return field.message_type.fields_by_name["value"]
