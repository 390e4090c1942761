"""A small lake with all that publishing reads, written by hand under the fingerprints of a real plan, by no engine."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from gap.command import load_config
from gap.plan import plan
from lake.document import DOCUMENT, new_document
from lake.step import Kind, Step, folder_name
from spark_jobs.mix import SELECTION
from tests.eval.paged import with_tuned_model
from tests.gap.command import ROOT

CONFIG = "configs/demo-tuned.yaml"
LICENCES = {
    "guidelines": ["Apache-2.0", "CC-BY-4.0"],
    "papers": ["CC-BY-4.0", "CC-BY-NC-4.0", None],
    "replay": ["CC0-1.0"],
}
READ = datetime(2026, 3, 14, 9, 20, tzinfo=UTC)

Rows = dict[str, list[dict[str, Any]]]


def documents(counts: Mapping[str, int] | None = None) -> Rows:
    """By source. Every fifth may not be redistributed, and every third paper has no licence."""
    counts = counts or {"guidelines": 12, "papers": 15, "replay": 6}
    return {source: [document(source, n) for n in range(count)] for source, count in counts.items()}


def document(source: str, n: int, **fields: Any) -> dict[str, Any]:
    licences = LICENCES[source]
    about = {
        "title": f"{source} no. {n}",
        "url": f"https://example.org/{source}/{n}",
        "license": licences[n % len(licences)],
        "redistributable": n % 5 != 4,
        "fetched_at": READ.replace(day=1 + n % 28),
        "lang": "en",
    }
    meta = {"published": f"201{n % 10}-07", "journal": "Journal of Tests", "corpusid": n} if source == "papers" else {}
    written = (
        f"{source} {n}: the dose was given daily to every patient with fever, Größe {n} ≥ 5.\n\n" + f"Line {n}. " * 20
    )
    return new_document(source, str(n), fields.pop("text", written), meta, **(about | fields))


class SmallLake:
    """`plan` has the steps of CONFIG with this folder as lake; those that publishing reads are done."""

    def __init__(self, folder: Path, rows: Rows | None = None, *overrides: str) -> None:
        self.folder, self.overrides = folder, [f"lake={folder}", *overrides]
        self.config = load_config(str(ROOT / CONFIG), [f"data={ROOT / 'samples'}", *self.overrides])
        self.steps = plan(self.config)
        self.rows = documents() if rows is None else rows
        for step in self.steps.values():
            if step.kind not in (Kind.REPORT, Kind.CURVE):
                self.finish(step)
        self.write(self.rows)

    @property
    def words(self) -> tuple[str, ...]:
        """CONFIG as the command line takes it."""
        return (CONFIG, *self.overrides)

    def finish(self, step: Step[Any], **figures: Any) -> None:
        """Write a manifest like that of a made-up run."""
        made = like(step)
        inputs = {role: folder_name(of.name, of.fingerprint) for role, of in step.inputs.items()}
        fields = {
            "step": step.name,
            "kind": step.kind,
            "fingerprint": step.fingerprint,
            "inputs": inputs,
            "follows": step.follows,
        }
        manifest = made.model_copy(update=fields | {"figures": made.figures | figures})
        step.output.write_json(manifest.model_dump(mode="json", by_alias=True), "manifest.json")

    def write(self, rows: Rows, schema: pa.Schema = DOCUMENT) -> None:
        """Two parts of documents for each source, all selected but the last; every fourth is held out."""
        clean, mix = self.steps["clean"].output, self.steps["mix"].output
        for source, of_source in rows.items():
            for part in (0, 1):
                chosen = [
                    {
                        "id": row["id"],
                        "source": source,
                        "split": "validation" if n % 4 == 3 else "train",
                        "copies": 1 + n % 2,
                        "tokens": 40 + n,
                    }
                    for n, row in enumerate(of_source)
                    if n % 2 == part and (n + 1 < len(of_source) or n == 0)
                ]
                clean.write_part("documents", part, pa.Table.from_pylist(of_source[part::2], schema), source)
                selection = pa.Table.from_pylist(chosen[::-1], SELECTION)
                mix.write_part("selection", part, selection, source)

    def selected(self) -> Rows:
        return {source: of_source[:-1] for source, of_source in self.rows.items()}

    def with_models(self, models: Path) -> "SmallLake":
        """Put real models into the exports; `models` has folders `model` and `adapters`."""
        for step in (step for step in self.steps.values() if step.kind is Kind.EXPORT):
            folder = step.output.local("model")
            shutil.copytree(models / "model", folder)
            files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
            figures: dict[str, Any] = {"files": files, "config": json.loads((folder / "config.json").read_text())}
            if step.name.endswith("-lora"):
                shutil.copytree(models / "adapters", step.output.local("adapters"))
                figures["adapters"] = {"adapters": 2, "parameters": 256}
            self.finish(step, **figures)
        return self


def like(step: Step[Any]) -> Any:
    """The manifest of the made-up run that is nearest to a step."""
    tuned = "finetune" in step.name
    kind = Kind.EXPORT if step.kind is Kind.BASE else step.kind
    alike = [made for made in with_tuned_model().manifests if made.kind is kind]
    return next((made for made in alike if ("finetune" in made.step) == tuned), alike[0])


def make_models(folder: Path) -> Path:
    """A tiny Llama with tokenizer and chat template, and adapters on it as peft writes them."""
    import torch
    from peft import LoraConfig, get_peft_model
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    shape = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    model = LlamaForCausalLM(LlamaConfig(vocab_size=300, bos_token_id=None, eos_token_id=0, **shape))
    model.save_pretrained(folder / "model")
    (folder / "model" / "generation_config.json").unlink()
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<end>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    raw.train_from_iterator([row["text"] for rows in documents().values() for row in rows], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>")
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }}<end>{% endfor %}"
    tokenizer.save_pretrained(folder / "model")
    adapted = get_peft_model(model, LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    adapted.save_pretrained(folder / "written")
    config = json.loads((folder / "written" / "adapter_config.json").read_text())
    (folder / "adapters").mkdir()
    (folder / "adapters" / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": str(folder / "model")})
    )
    shutil.copy(folder / "written" / "adapter_model.safetensors", folder / "adapters")
    return folder
