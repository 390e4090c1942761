"""What a base model's tokenizer says beside its vocabulary: its chat template, the side to pad, and the like."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixing.tokenizer.build import GGUF, TokenizerSettings, base_files
from mixing.tokenizer.tokenizer import CONFIG

TEMPLATE, TEMPLATE_FILE = "chat_template", "chat_template.jinja"

KEPT = {
    *("bos_token", "unk_token", "additional_special_tokens", "extra_special_tokens", "model_max_length"),
    *("padding_side", "truncation_side", "clean_up_tokenization_spaces", TEMPLATE),
}
"""Keys of tokenizer_config.json that are true of the project's tokenizer, too. The class is not: transformers would
build the tokenizer anew by it. Neither is what the base puts before a text, since the project puts nothing there."""


def base_settings(settings: TokenizerSettings) -> dict[str, Any]:
    """KEPT of the tokenizer to adopt.

    Raises:
        UserError: it is not there.
    """
    (file, *_) = base_files(settings)
    if file.suffix != GGUF:
        return settings_of(file if file.is_dir() else file.parent)
    import transformers

    base = transformers.AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name, local_files_only=True)
    found = {"bos_token": base.bos_token, "unk_token": base.unk_token, TEMPLATE: base.chat_template}
    return {key: value for key, value in found.items() if value is not None}


def settings_of(folder: Path) -> dict[str, Any]:
    """KEPT of a tokenizer's folder. A file with the chat template goes before the one in tokenizer_config.json."""
    file, template = folder / CONFIG, folder / TEMPLATE_FILE
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    kept = {key: value for key, value in found.items() if key in KEPT}
    return kept | ({TEMPLATE: template.read_text(encoding="utf-8")} if template.is_file() else {})


def write_settings(folder: Path, kept: Mapping[str, Any]) -> None:
    """Lay the base's settings over those of the tokenizer in the folder."""
    file = folder / CONFIG
    settings = json.loads(file.read_text(encoding="utf-8")) | dict(kept)
    file.write_text(json.dumps(settings, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
