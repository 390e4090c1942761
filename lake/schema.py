"""The schema of a table in a line."""

import pyarrow as pa

TIME = pa.timestamp("us", tz="UTC")


def schema(columns: str) -> pa.Schema:
    """Columns as `name type`, with commas between them: `id string, score float64?, names list<string>, at time`.

    A type is the name of an Arrow type, `time` for microseconds in UTC, or `list<type>` or `map<type>`, whose keys are
    strings. With `?` a value may be null.
    """
    return pa.schema([_field(*column.split()) for column in columns.split(",")])


def _field(name: str, kind: str) -> pa.Field:
    return pa.field(name, _type(kind.removesuffix("?")), nullable=kind.endswith("?"))


def _type(kind: str) -> pa.DataType:
    outer, _, inner = kind.removesuffix(">").partition("<")
    if outer == "list":
        return pa.list_(_type(inner))
    if outer == "map":
        return pa.map_(pa.string(), _type(inner))
    return TIME if kind == "time" else pa.type_for_alias(kind)
