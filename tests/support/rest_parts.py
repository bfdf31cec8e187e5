"""A request over REST, made from the message that gRPC sends."""

import copy
from urllib.parse import quote


def parts(route, document):
    """Return a request's JSON as the path, the query and the body of its route."""
    path, values = list(route.segments), copy.deepcopy(document)
    for variable in route.variables:
        owner = values
        for name in variable.field_path[:-1]:
            owner = owner[camel_case(name)]
        named = owner.pop(camel_case(variable.field_path[-1]))
        path[variable.start : variable.end] = [quote(part) for part in named.split("/")]
    verb = f":{route.verb}" if route.verb else ""
    body = values if route.body == "*" else values.pop(camel_case(route.body), {}) if route.body else None
    return f"/{'/'.join(path)}{verb}", {} if route.body == "*" else values, body


def camel_case(name):
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
