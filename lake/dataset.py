"""A step's folder: Parquet tables made of numbered parts, other files, and the manifest that marks completion.

Local paths and every URI that `pyarrow.fs` opens (s3://, gs://, hdfs://) work alike. A file is written under a
temporary name and moved, so a name that exists is whole.
"""

import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from lake.error import UserError

MANIFEST = "manifest.json"
COPIED_AT_ONCE = 1 << 22
TEMPORARY = re.compile(r"\.[^/]+\.[0-9a-f]{8}$")
PART = re.compile(r"part-(\d{5})\.parquet$")
PARTITIONING = ds.partitioning(pa.schema([("source", pa.string())]), flavor="hive")


@dataclass(frozen=True)
class Output:
    """The folder `root` (an absolute local path or a URI) of one step with one fingerprint."""

    root: str

    @cached_property
    def _place(self) -> tuple[pafs.FileSystem, str]:
        return pafs.FileSystem.from_uri(self.root)

    def path(self, *names: str) -> str:
        """The path or URI of something in the folder."""
        return "/".join((self.root.rstrip("/"), *names))

    def below(self, *names: str) -> "Output":
        """A folder in this one."""
        return Output(self.path(*names))

    def local(self, *names: str) -> Path:
        """Likewise as a local path, for engines that map files into memory.

        Raises:
            UserError: the lake is on object storage.
        """
        if not self.is_local:
            raise UserError(f"{self.root}: this step needs a local or mounted disk; set disk= to a folder on one")
        return Path(self.root.removeprefix("file://"), *names)

    @property
    def is_local(self) -> bool:
        """Whether the folder is on a disk that engines can map files from."""
        return "://" not in self.root or self.root.startswith("file://")

    def check_writable(self, key: str) -> None:
        """Make the folder, where it is on a disk, and try it; `key` is the config key to name in the message.

        Raises:
            UserError: nothing can be written there.
        """
        if not self.is_local:
            return
        folder = self.local()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=folder).close()
        except OSError as error:
            raise UserError(
                f"{key}: {folder} cannot be written: {error.strerror}; set {key}= to a folder that can"
            ) from None

    # Files -----------------------------------------------------------------------------------------------------------

    def exists(self, *names: str) -> bool:
        fs, base = self._place
        return fs.get_file_info("/".join((base, *names))).type != pafs.FileType.NotFound

    def read_bytes(self, *names: str) -> bytes:
        fs, base = self._place
        with fs.open_input_stream("/".join((base, *names))) as stream:
            return stream.read()

    def write_bytes(self, data: bytes, *names: str) -> None:
        """Write a whole file."""
        with self.create(*names) as stream:
            stream.write(data)

    def open(self, *names: str) -> pa.NativeFile:
        """A file to read at any place of it."""
        fs, base = self._place
        return fs.open_input_file("/".join((base, *names)))

    @contextmanager
    def create(self, *names: str) -> Iterator[pa.NativeFile]:
        """Write a file as a stream, under a temporary name; it appears under its own when the block ends, or not at all
        where the block raises.
        """
        fs, base = self._place
        temporary, final = self._names(base, *names)
        fs.create_dir(final.rpartition("/")[0], recursive=True)
        opened = fs.open_output_stream(temporary)
        try:
            with opened as stream:
                yield stream
        except BaseException:  # whatever ended the block, its half-written file must go
            fs.delete_file(temporary)
            raise
        fs.move(temporary, final)

    @contextmanager
    def local_copy(self, folder: str, names: Iterable[str] | None = None) -> Iterator[Path]:
        """A local folder with the files of `folder`, all or those named, for libraries that read from a disk.

        It is the folder itself where that is local; else the copies are gone when the block ends.
        """
        if self.is_local:
            yield self.local(folder)
            return
        with TemporaryDirectory() as copies:
            for name in self.files(folder) if names is None else names:
                with self.open(folder, name) as source, Path(copies, name).open("wb") as target:
                    shutil.copyfileobj(source, target, COPIED_AT_ONCE)
            yield Path(copies)

    @contextmanager
    def local_folder(self, folder: str) -> Iterator[Path]:
        """A local folder for libraries that write to a disk: `folder` itself, or one whose files are moved there when
        the block ends.
        """
        if self.is_local:
            yield self.local(folder)
            return
        with TemporaryDirectory() as written:
            yield Path(written)
            for path in sorted(Path(written).iterdir()):
                with path.open("rb") as source, self.create(folder, path.name) as target:
                    shutil.copyfileobj(source, target, COPIED_AT_ONCE)

    def files(self, folder: str) -> list[str]:
        """The names of the files right in a folder below this one, sorted."""
        fs, base = self._place
        found = fs.get_file_info(pafs.FileSelector(f"{base}/{folder}", allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == pafs.FileType.File)

    def size(self, *names: str) -> int | None:
        """A file's bytes; None where there is none."""
        fs, base = self._place
        return fs.get_file_info("/".join((base, *names))).size

    def read_json(self, *names: str) -> Any:
        return json.loads(self.read_bytes(*names))

    def write_json(self, data: Any, *names: str) -> None:
        self.write_bytes(json.dumps(data, indent=1, ensure_ascii=False, sort_keys=True).encode() + b"\n", *names)

    @staticmethod
    def _names(base: str, *names: str) -> tuple[str, str]:
        final = "/".join((base, *names))
        folder, _, name = final.rpartition("/")
        return f"{folder}/.{name}.{uuid.uuid4().hex[:8]}", final

    # Tables ----------------------------------------------------------------------------------------------------------

    @staticmethod
    def part_name(index: int, source: str | None = None) -> str:
        """`part-00003.parquet`, below `source=papers/` for a table partitioned by source."""
        return (f"source={source}/" if source is not None else "") + f"part-{index:05d}.parquet"

    @staticmethod
    def part_place(name: str) -> tuple[int, str | None]:
        """Index and source of a name that `parts` gave: the inverse of `part_name`."""
        folder, _, file = name.rpartition("/")
        found = PART.fullmatch(file)
        if found is None:
            raise ValueError(f"{name}: not the name of a part")
        return int(found[1]), folder.removeprefix("source=") or None

    def has_part(self, table: str, index: int, source: str | None = None) -> bool:
        return self.exists(table, self.part_name(index, source))

    def write_part(self, table: str, index: int, rows: pa.Table, source: str | None = None) -> None:
        """Write one part; equal rows give equal bytes. With `source`, that column moves to the folder's name."""
        if source is not None and "source" in rows.column_names:
            rows = rows.drop_columns(["source"])
        with self.create(table, self.part_name(index, source)) as stream:
            pq.write_table(rows, stream, compression="zstd", row_group_size=65_536)

    @contextmanager
    def part_writer(
        self, table: str, index: int, schema: pa.Schema, source: str | None = None, plain: bool = False
    ) -> Iterator[Callable[[pa.Table], None]]:
        """Write one part in row groups, one for each table given to the writer, so that memory holds one at a time.

        With `source`, that column moves to the folder's name. `plain` spares the attempts at making hashes smaller.
        The part appears when the block ends; a block that raises leaves none.
        """
        if source is not None:
            schema = pa.schema([field for field in schema if field.name != "source"])
        packing = "none" if plain else "zstd"
        with (
            self.create(table, self.part_name(index, source)) as stream,
            pq.ParquetWriter(stream, schema, compression=packing, use_dictionary=not plain) as writer,
        ):
            yield lambda rows: writer.write_table(rows.select(schema.names).cast(schema))

    def parts(self, table: str, source: str | None = None) -> list[str]:
        """Paths of a table's parts relative to the table, sorted; none where the table does not exist."""
        fs, base = self._place
        folder = f"{base}/{table}" + (f"/source={source}" if source is not None else "")
        found = fs.get_file_info(pafs.FileSelector(folder, recursive=True, allow_not_found=True))
        return sorted(info.path.removeprefix(f"{base}/{table}/") for info in found if PART.search(info.path))

    def sources(self, table: str) -> list[str]:
        """The sources a partitioned table holds, sorted."""
        return sorted({name.split("/")[0].removeprefix("source=") for name in self.parts(table) if "/" in name})

    def scan(self, table: str, source: str | None = None) -> ds.Dataset:
        """A table as a lazily read dataset, its `source` column restored from the folders.

        Raises:
            UserError: the table has no part.
        """
        fs, base = self._place
        names = self.parts(table, source)
        if not names:
            raise UserError(f"{self.path(table)}: no such table; run the step that writes it again")
        paths = [f"{base}/{table}/{name}" for name in names]
        return ds.dataset(
            paths, filesystem=fs, format="parquet", partitioning=PARTITIONING, partition_base_dir=f"{base}/{table}"
        )

    def read_part(self, table: str, name: str, columns: list[str] | None = None) -> pa.Table:
        """One part by a name that `parts` gave; a partitioned table's `source` column is restored."""
        fs, base = self._place
        found = ds.dataset(
            [f"{base}/{table}/{name}"],
            filesystem=fs,
            format="parquet",
            partitioning=PARTITIONING,
            partition_base_dir=f"{base}/{table}",
        )
        return found.to_table(columns=columns)

    def adopt_parts(self, table: str, written: Iterable[str], source: str | None = None) -> None:
        """Move files that an engine wrote elsewhere below this folder to their part names, in the order given.

        `written` are paths relative to the folder; what stood under the part names before is replaced.
        """
        fs, base = self._place
        folder = f"{base}/{table}" + (f"/source={source}" if source is not None else "")
        if fs.get_file_info(folder).type != pafs.FileType.NotFound:
            fs.delete_dir(folder)
        fs.create_dir(folder, recursive=True)
        for index, name in enumerate(written):
            fs.move(f"{base}/{name}", f"{base}/{table}/{self.part_name(index, source)}")

    def sweep(self) -> None:
        """Remove what a killed run left half-written under temporary names."""
        fs, base = self._place
        for info in fs.get_file_info(pafs.FileSelector(base, recursive=True, allow_not_found=True)):
            if info.type == pafs.FileType.File and TEMPORARY.fullmatch(info.base_name):
                fs.delete_file(info.path)

    def delete(self, *names: str) -> None:
        """Remove a folder below this one, if it is there."""
        fs, base = self._place
        folder = "/".join((base, *names))
        if fs.get_file_info(folder).type == pafs.FileType.Directory:
            fs.delete_dir(folder)
