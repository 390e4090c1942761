"""From texts to ids, with fastokens where it gives the same ids as Hugging Face's tokenizers: it is ten times faster.

Each process proves this for each tokenizer on hard strings. Where fastokens cannot read a tokenizer, or gives a single
other id, tokenizers does the work, and a warning says so. Both read the tokenizer's JSON as mixing/tokenizer/plain.py
changes it, so that no string in a text becomes a control token.
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

from mixing.tokenizer.plain import plain

Flat = tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64]]
"""The ids of all texts in one array, and the bounds of each text in it: [tokens], [texts + 1]."""

Placed = tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]
"""The ids of a text, [tokens], and the first character of each and the one after its last: [tokens, 2]."""

Twin = tuple[fastokens.Tokenizer | None, str]
"""A fast tokenizer with the same ids, or None and the reason why there is none."""

_TWINS: dict[bytes, tuple[tokenizers.Tokenizer, Twin]] = {}
"""Plain tokenizers and their twins by the SHA-256 of the tokenizer's JSON, so that later tasks of a process need no new
proof. A twin's cache of words is bounded: about 90 MB with SmolLM2's vocabulary."""


def forget() -> None:
    """Drop all twins with their caches, as if the process were new."""
    _TWINS.clear()


class Encoder:
    """Encodes texts as the backend does, but takes all added tokens in them, except FORMAT_TOKENS, for plain text.

    `name` is the library in use, with its version.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._plain, (self._fast, fault) = _twin(backend)
        library = "tokenizers" if self._fast is None else "fastokens"
        self.name = f"{library} {version(library)}"
        if fault:
            warnings.warn(f"{fault}: texts are encoded with {self.name}, which is slower", stacklevel=2)

    def encode(self, texts: Sequence[str]) -> Flat:
        """Encode without begin or end. A text with a byte that fastokens has no id for goes to tokenizers."""
        if self._fast is None:
            return _slow(self._plain, texts)
        try:
            return _quick(self._fast, texts)
        except ValueError:
            if len(texts) == 1:
                return _slow(self._plain, texts)
        return _joined([self.encode([text])[0] for text in texts])

    def encode_with_places(self, texts: Sequence[str]) -> list[Placed]:
        """As `encode`, with the place of each id in its text. Only tokenizers tells places."""
        self._plain.encode_special_tokens = True
        encodings = self._plain.encode_batch(list(texts), add_special_tokens=False)
        return [
            (np.array(encoding.ids, np.uint32), np.array(encoding.offsets, np.int64).reshape(-1, 2))
            for encoding in encodings
        ]


def _twin(backend: tokenizers.Tokenizer) -> tuple[tokenizers.Tokenizer, Twin]:
    content = backend.to_str()
    key = hashlib.sha256(content.encode()).digest()
    if key not in _TWINS:
        content = plain(content)
        slow = tokenizers.Tokenizer.from_str(content)
        _TWINS[key] = slow, _proved(backend, slow, content)
    return _TWINS[key]


def _proved(backend: tokenizers.Tokenizer, slow: tokenizers.Tokenizer, content: str) -> Twin:
    """Build the twin from the JSON, and compare it with `slow` on hard texts for the backend."""
    # A task on a cluster has one core. fastokens reads these variables when it first encodes.
    if os.environ.get("TOKENIZERS_PARALLELISM") == "false":
        os.environ.setdefault("RAYON_NUM_THREADS", "1")
        os.environ.setdefault("FASTOKENS_BPE_THREADS", "1")
    try:
        fast = fastokens.Tokenizer.from_json_str(content)
    except ValueError as error:
        return None, f"fastokens does not read this tokenizer ({' '.join(str(error).split())})"
    size = backend.get_vocab_size()
    words = backend.decode_batch([[id_] for id_ in range(0, size, max(1, size // WORDS))], skip_special_tokens=False)
    texts = hard_texts([token.content for token in backend.get_added_tokens_decoder().values()], words)
    ids, bounds = _slow(slow, texts)
    for text, expected in zip(texts, np.split(ids, bounds[1:-1].astype(np.int64)), strict=True):
        # Twice, because the second answer comes from the cache of words.
        for _ in range(2):
            try:
                actual, _bounds = _quick(fast, [text])
            except ValueError:
                break
            if not np.array_equal(actual, expected):
                return None, f"fastokens and tokenizers give {text[:40]!r} different ids"
    return fast, ""


def _quick(fast: fastokens.Tokenizer, texts: Sequence[str]) -> Flat:
    ids, bounds = fast.encode_batch_flat(list(texts), add_special_tokens=False, split_special_tokens=True)
    return np.frombuffer(ids, np.uint32), np.frombuffer(bounds, np.uint64)


def _slow(backend: tokenizers.Tokenizer, texts: Sequence[str]) -> Flat:
    backend.encode_special_tokens = True
    encodings = backend.encode_batch_fast(list(texts), add_special_tokens=False)
    return _joined([np.array(encoding.ids, np.uint32) for encoding in encodings])


def _joined(parts: list[npt.NDArray[np.uint32]]) -> Flat:
    bounds = np.zeros(len(parts) + 1, np.uint64)
    np.cumsum([ids.size for ids in parts], out=bounds[1:])
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
"""Characters that split words, that may be composed, and that look like pieces of some vocabulary."""

RUNS = (*"a0-=_ \n\té中😀", "ab", "Word", "word ", "x1", "7.", "\r\n", " \n", "!?")
LETTERS = "aab ABé\u0301中9０-_.,'’\"()[]|<>/\\\t\r\n\u00a0\u200d😀٣" + "   "
MIXED, MIXED_LENGTH, LONG, LONGEST, STRIDE, ROW, WORDS = 150, 60, 3_000, 60_000, 61, 16, 4_000


def hard_texts(tokens: Sequence[str], words: Sequence[str]) -> list[str]:
    """Texts in which encoders may differ, the same at every call.

    They hold characters from all of Unicode, every byte, long runs, the added `tokens` whole and cut, and `words` of
    the vocabulary (which may be cut characters) in order and shuffled.
    """
    code_points = [chr(code) for code in range(0, 0x110000, STRIDE) if not 0xD800 <= code < 0xE000]
    rng = random.Random(0)
    pieces = [*LETTERS, *tokens]
    shuffled = rng.sample(words, len(words))
    return [
        "",
        *SCRIPTS,
        *(text for blank in SPACES for run in (blank, blank * 2, blank * 5) for text in (run, f"a{run}b")),
        *(text for char in map(chr, range(256)) for text in (char, f"a{char}b {char}\n{char * 3}")),
        *("".join(row[at : at + ROW]) for row in (code_points, words, shuffled) for at in range(0, len(row), ROW)),
        *((unit * LONG)[:LONG] for unit in RUNS),
        *(f" {token} x{token}{token}y\n{token}" for token in tokens),
        *(text for token in tokens for text in (token[:-1], token[1:], token.upper(), token[:2] + token)),
        "".join(tokens),
        *("".join(rng.choices(pieces, k=size)) for size in (*[MIXED_LENGTH] * MIXED, LONGEST)),
    ]
