"""From texts to ids: fastokens where it gives the ids of Hugging Face's tokenizers, at ten times their speed or more.

That is proved for each tokenizer, once a process, on hard strings. Where fastokens cannot read a tokenizer, or differs
in one id, tokenizers does the work, and a warning says so.
"""

import hashlib
import os
import random
import warnings
from collections.abc import Sequence
from importlib.metadata import version

import fastokens
import numpy as np
import numpy.typing as npt
import tokenizers

Flat = tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64]]
"""The ids of all texts, one after the other, and the bounds of the texts in them, one more than texts."""

Twin = tuple[fastokens.Tokenizer | None, str]
"""What encodes as a tokenizer does, or none and what is wrong with it."""

_TWINS: dict[bytes, Twin] = {}
"""By the SHA-256 of the tokenizer's JSON, for tasks that follow each other in a process. What a twin remembers of words
is bounded, some 90 MB with SmolLM2's vocabulary."""


def forget() -> None:
    """Drop all twins, so that the next encoder has seen no text but the hard ones, as in a new process."""
    _TWINS.clear()


class Encoder:
    """Encodes texts as the backend does, its special tokens taken for plain text.

    `name` is the library that does it, with its version.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._backend = backend
        self._fast, fault = _twin(backend)
        library = "tokenizers" if self._fast is None else "fastokens"
        self.name = f"{library} {version(library)}"
        if fault:
            warnings.warn(f"{fault}: texts are encoded with {self.name}, which is slower", stacklevel=2)

    def encode(self, texts: Sequence[str]) -> Flat:
        """No begin or end is added. A text that fastokens rejects, for it has no id for a byte, goes to tokenizers."""
        if self._fast is None:
            return _slow(self._backend, texts)
        try:
            return _quick(self._fast, texts)
        except ValueError:
            if len(texts) == 1:
                return _slow(self._backend, texts)
        return _joined([self.encode([text])[0] for text in texts])


def _twin(backend: tokenizers.Tokenizer) -> Twin:
    content = backend.to_str()
    key = hashlib.sha256(content.encode()).digest()
    if key not in _TWINS:
        _TWINS[key] = _proved(backend, content)
    return _TWINS[key]


def _proved(backend: tokenizers.Tokenizer, content: str) -> Twin:
    """The twin of the backend with this JSON if it proves to be one."""
    # The tasks on a cluster say so, for each has one core; fastokens reads these when it first encodes.
    if os.environ.get("TOKENIZERS_PARALLELISM") == "false":
        os.environ.setdefault("RAYON_NUM_THREADS", "1")
        os.environ.setdefault("FASTOKENS_BPE_THREADS", "1")
    try:
        fast = fastokens.Tokenizer.from_json_str(content)
    except ValueError as error:
        return None, f"fastokens does not read this tokenizer ({' '.join(str(error).split())})"
    size = backend.get_vocab_size()
    words = backend.decode_batch([[one] for one in range(0, size, max(1, size // WORDS))], skip_special_tokens=False)
    texts = hard_texts([one.content for one in backend.get_added_tokens_decoder().values()], words)
    ids, bounds = _slow(backend, texts)
    for text, wanted in zip(texts, np.split(ids, bounds[1:-1].astype(np.int64)), strict=True):
        # Twice, for the second answer comes from what it remembers of words.
        for _ in range(2):
            try:
                found, _bounds = _quick(fast, [text])
            except ValueError:
                break
            if not np.array_equal(found, wanted):
                return None, f"fastokens encodes {text[:40]!r} otherwise than tokenizers"
    return fast, ""


def _quick(fast: fastokens.Tokenizer, texts: Sequence[str]) -> Flat:
    ids, bounds = fast.encode_batch_flat(list(texts), add_special_tokens=False, split_special_tokens=True)
    return np.frombuffer(ids, np.uint32), np.frombuffer(bounds, np.uint64)


def _slow(backend: tokenizers.Tokenizer, texts: Sequence[str]) -> Flat:
    backend.encode_special_tokens = True
    return _joined(
        [np.array(one.ids, np.uint32) for one in backend.encode_batch_fast(list(texts), add_special_tokens=False)]
    )


def _joined(parts: list[npt.NDArray[np.uint32]]) -> Flat:
    bounds = np.zeros(len(parts) + 1, np.uint64)
    np.cumsum([one.size for one in parts], out=bounds[1:])
    return np.concatenate([np.zeros(0, np.uint32), *parts]), bounds


SPACES = " \t\n\v\f\r\x1c\x85\u00a0\u1680\u2003\u2028\u2029\u202f\u3000\ufeff\u200b\u180e"
SCRIPTS = (
    "Größe naïve Ångström ﬁne ſharp İIıi ẞß Ǆ ŉ",
    "e\u0301 a\u0308\u0323 \u0344 n\u0303\u0303 \u0041\u030a ö\u0301",
    "Ελληνικά Русский עברית العربية فارسی\u200cها हिन्दी ไทย မြန်မာ ខ្មែរ தமிழ்",
    "中文漢字かなカナｶﾅ한국어\u1112\u1161\u11ab。、",
    "😀👍🏽👨\u200d👩\u200d👧\u200d👦🏳️\u200d🌈🇨🇭🧬✂️1️⃣",
    "½ ² ₃ Ⅷ ① ٣٤ ४५ 𝟘𝟙 1,234.5e-6 0x1F 3.14159 2024-01-01 µg/mL ≥5 °C ±",
    "don't DON'T it’s we'll they'RE I'd've 'tis O'Neil's rock'n'roll ''s 'S 'ſ",
    "https://example.org/a?b=c&d=%20#e user@example.org C:\\dir\\file __init__ a->b != === /* */ {{[()]}}",
    "<s></s><unk><pad><0x0A><0xFF>[UNK][CLS]▁a ▁ ▁▁ Ġa Ċ ##ing <|x|> <|endoftext|><|im_end|>",
)
"""What splits words, what may be composed, and what looks like a piece of some vocabulary."""

RUNS = (*"a0-=_ \n\té中😀", "ab", "Word", "word ", "x1", "7.", "\r\n", " \n", "!?")
LETTERS = "aab ABé\u0301中9０-_.,'’\"()[]|<>/\\\t\r\n\u00a0\u200d😀٣" + "   "
MIXED, MIXED_LENGTH, LONG, LONGEST, STRIDE, ROW, WORDS = 150, 60, 3_000, 60_000, 61, 16, 4_000


def hard_texts(tokens: Sequence[str], words: Sequence[str]) -> list[str]:
    """Texts in which encoders may differ: any Unicode, every byte, long runs, these added tokens whole and cut, and
    these words of the vocabulary, which may be cut characters, in rows and shuffled. The same at every call.
    """
    code_points = [chr(one) for one in range(0, 0x110000, STRIDE) if not 0xD800 <= one < 0xE000]
    chosen = random.Random(0)
    pieces = [*LETTERS, *tokens]
    shuffled = chosen.sample(words, len(words))
    return [
        "",
        *SCRIPTS,
        *(text for one in SPACES for many in (one, one * 2, one * 5) for text in (many, f"a{many}b")),
        *(text for one in map(chr, range(256)) for text in (one, f"a{one}b {one}\n{one * 3}")),
        *("".join(row[at : at + ROW]) for row in (code_points, words, shuffled) for at in range(0, len(row), ROW)),
        *((one * LONG)[:LONG] for one in RUNS),
        *(f" {one} x{one}{one}y\n{one}" for one in tokens),
        *(cut for one in tokens for cut in (one[:-1], one[1:], one.upper(), one[:2] + one)),
        "".join(tokens),
        *("".join(chosen.choices(pieces, k=size)) for size in (*[MIXED_LENGTH] * MIXED, LONGEST)),
    ]
