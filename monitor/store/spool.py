"""Where Steps go while the database is away: an append-only file of checksummed records.

A record is one line: the CRC-32 of the text in eight hex digits, a space, the text (JSON),
a line feed. Each append is on the disk (fdatasync) before it counts. A torn last line, as a
crash leaves it, is recognised by its checksum and cut off; it was never acknowledged.
"""

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monitor.core.instant import Instant
from monitor.core.step import (
    Checkpoint,
    Json,
    Step,
    checkpoint_from_json,
    checkpoint_json,
    step_from_json,
    to_json,
)

CHECKPOINT = "checkpoint.json"
"""The file's name in the state folder."""
REFUSED = "refused.jsonl"
"""The file in the state folder for what the database does not take."""
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class SpoolDamaged(Exception):
    """A record in the middle of the spool does not match its checksum."""


class Spool:
    """The file. Appending and reading may happen in two threads; each only in one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self._end = 0
        self._read = 0

    @property
    def is_open(self) -> bool:
        return self._file is not None

    @property
    def drained(self) -> bool:
        """Everything that was appended was also taken out."""
        return self._read >= self._end

    @property
    def bytes_left(self) -> int:
        return self._end - self._read

    def start(self, known: Checkpoint) -> None:
        """Begin a new spool; its first record is all that is known and durable so far.

        There is a spool only once it is whole. Raises OSError if the disk refuses.
        """
        save_checkpoint(self.path, known)
        self.resume()
        self._read = self._end

    def resume(self) -> None:
        """Take up a spool that an earlier process left; a torn end is cut off."""
        self.close()
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND)
        self._end, self._read = _sound_length(self._file), 0
        os.ftruncate(self._file, self._end)
        os.fdatasync(self._file)

    def append(self, steps: Sequence[Step]) -> None:
        """Make `steps` durable. Raises OSError if the disk refuses."""
        self._append([_record(to_json(step)) for step in steps])

    def _append(self, records: list[bytes]) -> None:
        assert self._file is not None
        data = b"".join(records)
        _append(self._file, self._end, data)
        self._end += len(data)

    def take(self, most: int) -> tuple[list[Step], int]:
        """The next Steps, at most `most`, and the position to hand to `taken` once they are safe."""
        assert self._file is not None
        steps: list[Step] = []
        position = self._read
        for line, position in _lines(self._file, self._read, self._end):  # noqa: B007 - it is returned
            raw = _text(line)
            if "checkpoint" not in raw:
                steps.append(step_from_json(raw))
            if len(steps) == most:
                break
        return steps, position

    def taken(self, position: int) -> None:
        """Everything before `position` is in the database."""
        self._read = position

    def known(self) -> tuple[Checkpoint, Iterator[Step]]:
        """The first record and all that came after it; for a start without the database."""
        assert self._file is not None
        records = (_text(line) for line, _ in _lines(self._file, 0, self._end))
        first = next(records, {})
        if "checkpoint" not in first:
            raise SpoolDamaged(f"{self.path} does not begin with a checkpoint")
        return checkpoint_from_json(first["checkpoint"]), map(step_from_json, records)

    def remove(self) -> None:
        """The spool is empty; normal life goes on."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self.path.unlink()
            _sync_folder(self.path.parent)

    def leave_as(self, path: Path) -> None:
        """The spool is empty, but what the database refused of it is nowhere else yet: keep the file
        under another name, which takes no room on a full disk.
        """
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self.path.rename(path)
            _sync_folder(path.parent)

    def close(self) -> None:
        """Let go of the file and leave it for the next process."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def refused_of(spool: Path, at: Instant) -> Path:
    """What a spool is called that went into the database at `at`, but for what that refused."""
    return spool.with_name(f"refused-{at}.spool")


def set_aside(folder: Path, steps: Iterable[Step]) -> None:
    """Keep what the database refused for a person to look at. Raises OSError if the disk refuses too."""
    file = os.open(folder / REFUSED, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        _append(file, os.fstat(file).st_size, b"".join(_json(to_json(step)) + b"\n" for step in steps))
    finally:
        os.close(file)


def _append(file: int, end: int, data: bytes) -> None:
    """All of it, on the disk, or nothing and OSError."""
    written = 0
    try:
        while written < len(data):
            written += os.write(file, data[written:])
        os.fdatasync(file)
    except OSError:
        # Half a record would hide those that follow it.
        os.ftruncate(file, end)
        raise


def _record(raw: Json) -> bytes:
    text = _json(raw)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _is_sound(line: bytes) -> bool:
    if len(line) < 10 or line[8:9] != b" ":
        return False
    return line[:8] == b"%08x" % zlib.crc32(line[9:].rstrip(b"\n"))


def _text(line: bytes) -> Json:
    if not _is_sound(line):
        raise SpoolDamaged("a record of the spool does not match its checksum")
    raw: Json = json.loads(line[9:])
    return raw


def _sound_length(file: int) -> int:
    """Where the last sound record ends, if only the end is torn. Raises SpoolDamaged otherwise."""
    size = os.fstat(file).st_size
    sound, torn = 0, False
    for line, position in _lines(file, 0, size):
        if _is_sound(line) and line.endswith(b"\n"):
            if torn:
                raise SpoolDamaged("a record in the middle of the spool is damaged")
            sound = position
        else:
            torn = True
    return sound


def _lines(file: int, start: int, end: int) -> Iterator[tuple[bytes, int]]:
    """Lines between two positions, each with the position behind it."""
    rest, position = b"", start
    while start < end:
        chunk = os.pread(file, min(1 << 20, end - start), start)
        if not chunk:
            break
        start += len(chunk)
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            position += len(line) + 1
            yield line + b"\n", position
    if rest:
        yield rest, position + len(rest)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, parts: Iterable[bytes], mode: int = 0o644) -> None:
    """Replace a file so that a reader, or a crash, sees the old one or the new one whole."""
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def in_pieces(raw: Mapping[str, Any]) -> Iterator[bytes]:
    """The JSON of an object, one item of an iterator or a mapping in it at a time.

    Encoding is one call that no other thread can interrupt: ten thousand endpoints at once
    would hold up the loop for half a second.
    """
    comma = b""
    yield b"{"
    for name, value in raw.items():
        yield comma + _json(name) + b":"
        comma = b","
        if isinstance(value, Mapping):
            yield from _list(b"{", (_json(key) + b":" + _json(item) for key, item in value.items()), b"}")
        elif isinstance(value, Iterator):
            yield from _list(b"[", map(_json, value), b"]")
        else:
            yield _json(value)
    yield b"}"


def _list(begin: bytes, items: Iterable[bytes], end: bytes) -> Iterator[bytes]:
    yield begin
    comma = b""
    for item in items:
        yield comma + item
        comma = b","
    yield end


def _json(value: object) -> bytes:
    return _to_json(value).encode()


def save_checkpoint(path: Path, known: Checkpoint) -> None:
    """A file of one record. Raises OSError if the disk refuses."""
    pieces = [b'{"checkpoint":', *in_pieces(checkpoint_json(known)), b"}"]
    checksum = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    write_atomically(path, [b"%08x " % checksum, *pieces, b"\n"], 0o600)


def load_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint file; None if there is none or it is not sound."""
    try:
        raw = _text(path.read_bytes())
        return checkpoint_from_json(raw["checkpoint"])
    except (FileNotFoundError, SpoolDamaged, KeyError, TypeError, ValueError):
        return None
