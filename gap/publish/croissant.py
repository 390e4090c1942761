"""Croissant: a data set as machines read it, in format 1.1 with the vocabulary for responsible AI (RAI) 1.0."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from gap.publish.corpus import Corpus
from gap.publish.history import Version
from gap.publish.rows import FIELDS, PUBLISHED
from mixing.split import SPLITS

FORMAT = "http://mlcommons.org/croissant/1.1"
RESPONSIBLE = "http://mlcommons.org/croissant/RAI/1.0"

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context of the specification, letter for letter: readers warn of any other."""

NO_DIGEST = "https://github.com/mlcommons/croissant/issues/80"
"""What the specification's authors put where a Git repository has no SHA-256. publication.json has those of files."""

REPOSITORY = "repo"


def croissant(about: Mapping[str, Any], corpus: Corpus, versions: Sequence[Version], address: str) -> str:
    """The file croissant.json. `about` has name, description, licences, languages, citation and the RAI sentences."""
    splits = [split for split in SPLITS if corpus.amount(split=split).rows]
    tree = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [FORMAT, RESPONSIBLE],
        "name": about["name"],
        "description": about["description"],
        "url": address,
        "version": versions[-1].version,
        "license": about["licences"],
        "inLanguage": about["languages"],
        "keywords": ["medical", "pretraining", "text"],
        "creator": {"@type": "sc:Organization", "name": about["creator"], "url": about["creator_url"]},
        "dateCreated": versions[0].date,
        "datePublished": versions[0].date,
        "dateModified": versions[-1].date,
        "citeAs": about["citation"],
        "isLiveDataset": False,
        "distribution": [_repository(address), *(_files(split) for split in splits)],
        "recordSet": [_split_names(splits), *(_rows(split) for split in splits)],
        **{f"rai:{name}": value for name, value in about["rai"].items() if value},
    }
    return json.dumps({name: value for name, value in tree.items() if value is not None}, indent=1) + "\n"


def _repository(address: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": REPOSITORY,
        "name": REPOSITORY,
        "description": "The Git repository on the Hub.",
        "contentUrl": address,
        "encodingFormat": "git+https",
        "sha256": NO_DIGEST,
    }


def _files(split: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"files-{split}",
        "name": f"files-{split}",
        "description": f"Parquet files of the split {split}, a folder for each source.",
        "containedIn": {"@id": REPOSITORY},
        "encodingFormat": "application/x-parquet",
        "includes": f"data/*/{split}-*.parquet",
    }


def _split_names(splits: Sequence[str]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [{"@type": "cr:Field", "@id": "splits/name", "name": "name", "dataType": "sc:Text"}],
        "data": [{"splits/name": split} for split in splits],
    }


def _rows(split: str) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": split,
        "name": split,
        "description": f"The documents of the split {split}.",
        "key": {"@id": f"{split}/id"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{split}/{field.name}",
                "name": field.name,
                "description": FIELDS[field.name][1],
                "dataType": _type(field.type),
                "source": {"fileSet": {"@id": f"files-{split}"}, "extract": {"column": field.name}},
            }
            for field in PUBLISHED
        ],
    }


def _type(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:DateTime" if pa.types.is_timestamp(kind) else "sc:Text"
