"""The words of the kernel are those of Python, for all of Unicode."""

import re

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from dedup.words import grams, scan, spell, text_buffers, unicode_tables, word_hashes

POINTS = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
TRICKY = st.text(st.sampled_from("aZ9_ -.'ßİıſKΣσςΑά\u0301\u00ad\u2019\u0345ʰⅧⓐ中ａ𐐀\U000e0001\U0001d400\n"))


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def spelled(text: str) -> list[bytes]:
    """The words that `spell` writes, from the places that it gives."""
    data, places = text_buffers(pa.array([text], pa.large_string()))
    room = data.size // 2 + 1
    hashes, begins, ends = np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.int64)
    # Nothing may be written after the room that is promised to be enough.
    out = np.full(2 * data.size + 9, 0xFF, np.uint8)
    count = scan(data, places[0], places[1], unicode_tables(), hashes, begins, ends)
    spell(data, places[0], places[1], unicode_tables(), count, begins, ends, out)
    assert np.all(out[2 * data.size :] == 0xFF)
    spelled_words = [out[begins[at] : ends[at]].tobytes() for at in range(count)]
    assert out.tobytes().startswith(b" ".join(spelled_words) + b"\xff")
    return spelled_words


def check(text: str) -> None:
    """Words are spelled as in Python and hashed as in lower case, and different words have different hashes."""
    expected = words(text)
    assert spelled(text) == [word.encode() for word in expected]
    hashes = word_hashes(text)
    assert len(hashes) == len(expected)
    assert np.array_equal(hashes, word_hashes(" ".join(expected)))
    assert len(set(hashes.tolist())) == len(set(expected))


@given(st.one_of(st.text(), TRICKY))
@example("ΟΔΥΣΣΕΥΣ Σ ΑΣ. ΑΣΑ Α.Σ. Α.Σ.Α")
@example("İSTANBUL İİ aİ")
@example("İ")
@example("Ⱥ İⱥ ȺȺ")
@example("")
def test_words_are_pythons(text: str) -> None:
    check(text)


def test_every_code_point_alone_and_around_a_sigma() -> None:
    for pattern in ("{}", "a{}z", "{}Σ", "A{}Σ", "AΣ{}", "AΣ{}B"):
        check(" ".join(pattern.format(point) for point in POINTS))
    check("".join(POINTS))


@given(st.binary(max_size=40))
@example(b"a\xe0\x81\x81b")
@example(b"\xed\xa0\x80 \xf4\x90\x80\x80")
@example("Σ".encode()[:1])
def test_bytes_that_are_not_utf8_only_end_a_word(data: bytes) -> None:
    texts = pa.array([data], pa.large_binary()).view(pa.large_string())
    raw, places = text_buffers(texts)
    none = np.empty(0, dtype=np.int64)
    out = np.empty(len(data) // 2 + 1, dtype=np.uint64)
    count = scan(raw, places[0], places[1], unicode_tables(), out, none, none)
    assert np.array_equal(out[:count], word_hashes(data.decode("utf-8", "replace")))


@given(st.one_of(st.text(), TRICKY))
def test_places_of_words(text: str) -> None:
    data, places = text_buffers(pa.array([text], pa.large_string()))
    room = data.size // 2 + 1
    out, begins, ends = np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.int64)
    count = scan(data, places[0], places[1], unicode_tables(), out, begins, ends)
    originals = [data[begins[at] : ends[at]].tobytes().decode() for at in range(count)]
    # The form of a sigma depends on its neighbours, and the dot after the i of a dotted I is not part of the word.
    lowered = [word.lower().replace("ς", "σ").removesuffix("\u0307") for word in originals]
    assert lowered == [word.replace("ς", "σ") for word in words(text)]


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(1, 6))
def test_grams_are_equal_where_their_words_are(sequence: list[str], length: int) -> None:
    hashes = word_hashes(" ".join(sequence))
    out = np.empty(len(sequence), np.uint64)
    runs = [tuple(sequence[at : at + length]) for at in range(len(sequence) - length + 1)]
    assert grams(hashes, len(hashes), length, out) == len(runs)
    assert (
        len(set(zip(runs, out[: len(runs)].tolist(), strict=True)))
        == len(set(runs))
        == len(set(out[: len(runs)].tolist()))
    )


def test_all_shapes_of_text_arrays() -> None:
    texts = ["one", None, "", "two three", "İ"]
    plain = pa.array(texts, pa.string())
    for array in (
        plain,
        plain.cast(pa.large_string()),
        pa.chunked_array([plain.slice(0, 2), plain.slice(2)]),
        pa.array(["x", *texts, "y"]).slice(1, 5),
    ):
        data, places = text_buffers(array)
        assert [data[places[at] : places[at + 1]].tobytes().decode() for at in range(5)] == [
            text or "" for text in texts
        ]
    assert text_buffers(pa.array([], pa.string()))[1].tolist() == [0]
    assert text_buffers(pa.chunked_array([], pa.string()))[1].tolist() == [0]
