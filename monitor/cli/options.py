"""Values on the command line, written as they are in config.toml."""

from datetime import datetime, timedelta

import click


class Duration(click.ParamType[timedelta]):
    """`30m`, `2h`, `100d`."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        from pydantic import TypeAdapter, ValidationError

        from monitor.config.values import Duration as Written
        from monitor.config.wording import words

        try:
            length: timedelta = TypeAdapter(Written).validate_python(value)
        except ValidationError as refused:
            self.fail(words(refused.errors()[0]), param, ctx)
        return length


class Moment(click.ParamType[datetime]):
    """`2026-12-01T02:00:00Z`, `"2026-12-01 02:00"`: naive where no offset is given."""

    name = "moment"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(
                f'"{value}" is not a moment such as "2026-12-01 02:00" or 2026-12-01T02:00:00Z', param, ctx
            )
