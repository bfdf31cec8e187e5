"""The field behavior options of the protos."""

from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor


def behaves(field: FieldDescriptor, behavior: str) -> bool:
    """Return whether a field has a `google.api.field_behavior`, such as REQUIRED."""
    behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.FieldBehavior.Value(behavior) in behaviors
